"""What a release is made of: the manifest that pins versions, what vectors are made from, and the table of items."""

import hashlib
import io
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import polars as pl

from spotify_ai_assets.errors import ContractError, PermanentError
from spotify_ai_assets.resources.artifacts import Content
from spotify_ai_assets.training.gates import GateResult

MODEL, RELEASE = "recommendations/model", "recommendations/release"
NOUNS = ("track", "artist", "listener")
ITEMS = "items.parquet"
"""In a release, all items by the number of their row; in a version of the model, the ids of its columns."""

ITEM_COLUMNS = pl.Schema(
    {
        "row": pl.Int32,
        "track_id": pl.String,
        "name": pl.String,
        "artist_id": pl.String,
        "artist_name": pl.String,
        "is_explicit": pl.Boolean,
        "released_on": pl.Date,
        "is_known_to_model": pl.Boolean,
        "is_removed": pl.Boolean,
    }
)
"""Items of a release: first the model's, in the order of its columns, then the cold ones. The row of a removed item stays, without
anything of it; it is never to be recommended."""


class MismatchedReleaseError(PermanentError):
    """Versions that do not belong together; the message names both."""


@dataclass(frozen=True, slots=True)
class Basis:
    """What vectors are made from; vectors of two bases do not compare.

    Attributes:
        model: Version of ``recommendations/model``.
        items: Digest of the ids of the model's columns, by ``items_digest``.
        encoder: Digest of what embeds texts; empty where none does.
        extractor: Digest of what embeds audio; empty where none does.
    """

    model: str
    items: str
    encoder: str = ""
    extractor: str = ""


@dataclass(frozen=True, slots=True)
class Release:
    """What answers together.

    Attributes:
        basis: The model, its id map, the encoder and the extractor.
        track_index: Version of ``recommendations/track_index``.
        artist_index: Version of ``recommendations/artist_index``.
        listener_index: Version of ``recommendations/listener_index``, with the histories.
        recipe: Digest of the recipe that the model, a blend, was fitted by.
        as_of: Up to when plays are in it, ISO 8601.
        gate: What the gate said of the model.
    """

    basis: Basis
    track_index: str
    artist_index: str
    listener_index: str
    recipe: str
    as_of: str
    gate: GateResult | None = None

    @property
    def pins(self) -> dict[str, str]:
        """Version by artifact."""
        return {MODEL: self.basis.model, **{index_name(noun): getattr(self, f"{noun}_index") for noun in NOUNS}}

    def repin(self, basis: Basis, indices: Mapping[str, str]) -> "Release":
        """The same release of other versions; ``indices`` by noun."""
        return replace(self, basis=basis, **{f"{noun}_index": version for noun, version in indices.items()})

    def as_json(self) -> dict[str, Any]:
        """A JSON document."""
        mine = {name: getattr(self, name) for name in ("track_index", "artist_index", "listener_index", "recipe", "as_of")}
        return {"basis": asdict(self.basis), **mine, "gate": self.gate.as_json() if self.gate else None}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "Release":
        """Read what ``as_json`` wrote."""
        gate = document["gate"]
        rest = {name: value for name, value in document.items() if name not in ("basis", "gate")}
        return cls(basis=Basis(**document["basis"]), gate=GateResult.from_json(gate) if gate else None, **rest)


def index_name(noun: str) -> str:
    """The artifact of an index: of ``track``, ``artist`` or ``listener``."""
    return f"recommendations/{noun}_index"


def items_digest(track_ids: Iterable[str]) -> str:
    """The digest of an id map: 16 hexadecimal digits of the ids in the order of the model's columns."""
    digest = hashlib.sha256()
    for track_id in track_ids:
        digest.update(f"{len(track_id)}:{track_id}".encode())  # with its length, so that no two lists read alike
    return digest.hexdigest()[:16]


def pack_items(items: pl.DataFrame) -> bytes:
    """The file of a release's items.

    Args:
        items: ``ITEM_COLUMNS``, the model's items first; ``row`` and ``is_removed`` are set unless there.
    """
    written = io.BytesIO()
    if "is_removed" not in items.columns:
        items = items.with_columns(is_removed=pl.lit(False))
    items.with_columns(row=pl.int_range(pl.len(), dtype=pl.Int32)).select(ITEM_COLUMNS.names()).cast(ITEM_COLUMNS).write_parquet(written)
    return written.getvalue()


def read_items(content: Content, basis: Basis) -> pl.DataFrame:
    """Items of a release, held against its id map.

    Raises:
        ContractError: Other columns, or rows out of order.
        MismatchedReleaseError: Other items than the model's.
    """
    items = pl.read_parquet(content)
    if items.schema != ITEM_COLUMNS:
        raise ContractError(f"{ITEMS} of a release has the columns {', '.join(ITEM_COLUMNS)}")
    is_known = items["is_known_to_model"]
    known = int(is_known.sum())
    if not items["row"].equals(pl.int_range(items.height, dtype=pl.Int32, eager=True)) or not is_known.head(known).all():
        raise ContractError(f"{ITEMS} of a release numbers its rows from 0, the model's items first")
    compare("items", basis.items, items_digest(items["track_id"].head(known)), "the release", f"its {ITEMS}")
    return items


def compare(what: str, wanted: str, found: str, here: str, there: str) -> None:
    """Refuse what is not of one kind.

    Raises:
        MismatchedReleaseError: It names both.
    """
    if wanted != found:
        raise MismatchedReleaseError(f"{here} is of {what} {wanted or 'none'}, {there} of {found or 'none'}")
