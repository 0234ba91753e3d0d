"""The rows of ``catalog/text_embeddings``: every track and artist with what its text means, only changed texts embedded anew."""

import logging
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from spotify_ai_assets.catalog.contracts import TEXT_EMBEDDINGS
from spotify_ai_assets.catalog.encoding import TextEncoder, find_encoder
from spotify_ai_assets.catalog.texts import describe_catalog, digest_texts
from spotify_ai_assets.locale import translate as _
from spotify_ai_assets.settings import Settings

if TYPE_CHECKING:
    from spotify_ai_assets.making import Inputs

_LOG = logging.getLogger(__name__)
_TOLD_EVERY = 20_000


@dataclass(frozen=True)
class TextStudio:
    """The workplace of the step that embeds texts.

    Attributes:
        settings: Which encoder is used.
        context: The Dagster step that works in it; ``None`` outside of one.
    """

    settings: Settings
    context: Any = None

    def at(self, context: Any) -> "TextStudio":
        """The same workplace for a step."""
        return replace(self, context=context)

    @cached_property
    def encoder(self) -> TextEncoder:
        """What embeds texts."""
        return find_encoder(self.settings.text_model)

    @property
    def known(self) -> pl.DataFrame:
        """The rows of before: what they hold of this encoder's vectors needs no embedding."""
        return TEXT_EMBEDDINGS.empty() if self.context is None else self.context.resources.lake.scan(TEXT_EMBEDDINGS.key).collect()

    def tell(self, name: str, value: float | str) -> None:
        """Show a figure with the asset."""
        if self.context is not None:
            self.context.add_asset_metadata({name: value}, asset_key=self.context.asset_key)


def embed_catalog(read: "Inputs", studio: TextStudio) -> pl.DataFrame:
    """Embed all tracks and artists.

    Returns:
        Rows of ``catalog/text_embeddings``.
    """
    described = describe_catalog(read("catalog/tracks"), read("catalog/albums"), read("catalog/artists"))
    rows, embedded = embed_texts(described, studio.encoder, studio.known)
    for name, value in (("encoder", studio.encoder.name), ("texts_embedded", embedded), ("texts_kept", _distinct(rows) - embedded)):
        studio.tell(name, value)
    return rows


def embed_texts(described: pl.DataFrame, encoder: TextEncoder, known: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """Embed each distinct text that is not known already.

    Vectors are rounded to half precision, which a cosine does not notice and which halves the bytes that are stored.

    Args:
        described: ``item_id, subject, text``.
        encoder: What embeds them.
        known: Earlier rows of ``catalog/text_embeddings``, of any encoder.

    Returns:
        Rows of ``catalog/text_embeddings``, sorted by ``item_id``, and how many texts were embedded.
    """
    distinct = described.select("text").unique(maintain_order=True)
    distinct = distinct.with_columns(text_sha256=pl.Series(digest_texts(distinct["text"].to_list()), dtype=pl.String))
    kept = known.filter(pl.col("encoder") == encoder.name).select("text_sha256", "embedding").unique("text_sha256", keep="any")
    missing = distinct.join(kept, on="text_sha256", how="anti", maintain_order="left")
    vectors = pl.concat([kept, *_encode(missing, encoder)])
    rows = (
        described.join(distinct, on="text")
        .join(vectors, on="text_sha256")
        .with_columns(encoder=pl.lit(encoder.name))
        .select(*TEXT_EMBEDDINGS.schema)
        .sort("item_id")
    )
    return rows, missing.height


def _encode(missing: pl.DataFrame, encoder: TextEncoder) -> list[pl.DataFrame]:
    found = []
    for part in missing.iter_slices(_TOLD_EVERY):
        embedded = encoder.encode(part["text"].to_list()).astype(np.float16).astype(np.float32)
        found.append(part.select("text_sha256", embedding=pl.Series(values=embedded).cast(pl.List(pl.Float32))))
        _LOG.info("%s: %d of %d", _("texts embedded"), sum(each.height for each in found), missing.height)
    return found


def _distinct(rows: pl.DataFrame) -> int:
    return rows["text_sha256"].n_unique()
