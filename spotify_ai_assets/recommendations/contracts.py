"""The tables of recommendations: schema, keys, personal-data classes and inputs."""

import polars as pl

from spotify_ai_assets.contracts import SHARD, TIME, Column, Reads, Table, by_key
from spotify_ai_assets.recommendations.interactions import PARTS
from spotify_ai_assets.training.model_tables import model_table

_OWNER = "team:recommendations"
SHELVES = ("daily_mix", "discovery", "fresh_releases", "back_catalogue")
REASONS = ("plays", "content", "popularity")
TEXTS = pl.List(pl.String)
NUMBERS = pl.List(pl.Float64)

_shard = Column(SHARD, pl.String, "Shard of the id, 00 to 63.", pattern=r"\d\d")
_listener = Column("listener_id", pl.String, "Pseudonym of the listener.", personal="pseudonym", pattern=r"[0-9a-f]{32}")
_release = Column("release", pl.String, "The release that it comes from.", pattern=r"[0-9a-f]{16}")
_rank = Column("rank", pl.Int64, "1 is the best.", minimum=1)
_score = Column("score", pl.Float64, "The model's score; comparable within one shelf of one listener.")
_reason = Column("reason", pl.String, "What carries the score most: plays, content or popularity.", allowed=REASONS)
_sentences = tuple(
    Column(f"reason_{code}", pl.String, f"The reason as a sentence in {language}.", personal="derived")
    for code, language in (("en", "English"), ("de", "German"), ("fr", "French"))
)

INTERACTIONS = Table(
    key="recommendations/interactions",
    owner=_OWNER,
    partitioned_by=None,
    primary_key=("listener_id", "track_id", "part"),
    reads=(
        Reads("listening/listener_track_days", first=None, drives=False, awaited=True),
        Reads("listening/suspicious_streams", first=None, drives=False),
    ),
    columns=(
        _listener,
        Column("track_id", pl.String, "The track."),
        Column("part", pl.String, "The window in time: train, valid or test, one after the other.", allowed=PARTS),
        Column("artist_id", pl.String, "The track's first artist."),
        Column("country", pl.String, "Country of the latest plays, ISO 3166-1; ZZ where unknown.", personal="derived", pattern="[A-Z]{2}"),
        Column("plays", pl.Int64, "Number of plays in the window.", minimum=1),
        Column("skips", pl.Int64, "Plays that the listener skipped.", minimum=0),
        Column("completions", pl.Int64, "Plays that reached the end of the track.", minimum=0),
        Column("value", pl.Float64, "Value of the plays, decayed to the last day; negative where skips outweigh.", personal="derived"),
        Column("first_on", pl.Date, "Day of the first play in the window.", personal="derived"),
        Column("last_on", pl.Date, "Day of the last play in the window.", personal="derived"),
    ),
)

BLOCKS = Table(
    key="recommendations/blocks",
    owner=_OWNER,
    partitioned_by=None,
    primary_key=("item_id", "country", "listener_id"),
    columns=(
        Column("item_id", pl.String, "A track or an artist that is not to be recommended."),
        Column("country", pl.String, "Where, ISO 3166-1; empty for everywhere.", pattern=r"[A-Z]{2}|"),
        Column("listener_id", pl.String, "For whom; empty for everybody.", personal="pseudonym", pattern=r"[0-9a-f]{32}|"),
        Column("blocked_at", TIME, "Since when."),
    ),
)

EVALUATION = Table(
    key="recommendations/evaluation",
    owner=_OWNER,
    partitioned_by=None,
    is_model=True,
    primary_key=("recipe", "table", "metric", "slice", "k"),
    reads=(
        Reads("recommendations/interactions", drives=False, awaited=True),
        Reads("catalog/tracks", drives=False),
        Reads("catalog/albums", drives=False),
        Reads("catalog/text_embeddings", drives=False),
        Reads("audio/embeddings", first=None, drives=False),
        Reads("audio/track_links", first=None, drives=False),
    ),
    columns=(
        Column("recipe", pl.String, "What was measured: a baseline's or member's name, `challenger` or `champion`."),
        Column("table", pl.String, "Discovery hides what was heard before; daily mix allows it.", allowed=("discovery", "daily_mix")),
        Column("metric", pl.String, "Such as recall, ndcg, coverage."),
        Column("slice", pl.String, "Which listeners or items; empty for all."),
        Column("k", pl.Int64, "How many recommendations each listener got; 0 where that means nothing.", minimum=0),
        Column("value", pl.Float64, "The figure.", nullable=True),
        Column("low", pl.Float64, "Lower end of its 95 % interval.", nullable=True),
        Column("high", pl.Float64, "Upper end.", nullable=True),
        Column("cases", pl.Int64, "Listeners counted.", nullable=True, minimum=0),
        Column("recipe_version", pl.String, "Digest of the recipe."),
    ),
)


def _index(noun: str, *inputs: Reads) -> Table:
    return Table(
        key=f"recommendations/{noun}_index",
        owner=_OWNER,
        partitioned_by=None,
        primary_key=("metric",),
        reads=(Reads("recommendations/model", drives=False, awaited=True), *inputs),
        columns=(
            Column("metric", pl.String, "What was measured of the index, such as recall_at_10 or vectors."),
            Column("value", pl.Float64, "The figure."),
            Column("kind", pl.String, "How it is searched.", allowed=("flat", "ivf_sq8", "hnsw")),
            Column("index_version", pl.String, "The version among the artifacts.", pattern=r"[0-9a-f]{16}"),
        ),
    )


_CONTENT = (
    Reads("catalog/tracks", drives=False),
    Reads("catalog/albums", drives=False),
    Reads("catalog/text_embeddings", drives=False),
    Reads("audio/embeddings", first=None, drives=False),
    Reads("audio/track_links", first=None, drives=False),
)
TRACK_INDEX = _index("track", *_CONTENT)
_TRACK_INDEX = Reads("recommendations/track_index", drives=False, awaited=True)
ARTIST_INDEX = _index("artist", _TRACK_INDEX, Reads("recommendations/interactions", drives=False), Reads("catalog/tracks", drives=False))
LISTENER_INDEX = _index(
    "listener",
    _TRACK_INDEX,
    Reads("recommendations/interactions", drives=False, awaited=True),
    Reads("listening/plays", first=None, drives=False),
)

RELEASE = Table(
    key="recommendations/release",
    owner=_OWNER,
    partitioned_by=None,
    primary_key=("component",),
    reads=(
        *(
            Reads(f"recommendations/{noun}", drives=False, awaited=True)
            for noun in ("model", "track_index", "artist_index", "listener_index")
        ),
        Reads("catalog/tracks", drives=False),
        Reads("catalog/albums", drives=False),
        # For the names of tracks that the catalogue lacks.
        Reads("listening/track_days", first=None, drives=False),
    ),
    columns=(
        Column("component", pl.String, "What is pinned: model, indices, encoder, extractor, id map, recipe."),
        Column("version", pl.String, "Its version or digest; empty where there is none."),
        _release,
    ),
)

FOR_LISTENERS = Table(
    key="recommendations/for_listeners",
    owner=_OWNER,
    partitioned_by=SHARD,
    primary_key=("listener_id", "shelf", "rank"),
    reads=(
        Reads("recommendations/release", drives=False, awaited=True),
        Reads("recommendations/blocks", drives=False),
    ),
    columns=(
        _shard,
        _listener,
        Column("shelf", pl.String, "Daily mix, discovery, fresh releases or back catalogue.", allowed=SHELVES),
        _rank,
        Column("track_id", pl.String, "The track.", personal="derived"),
        Column("artist_id", pl.String, "Its first artist.", personal="derived"),
        _score,
        Column("propensity", pl.Float64, "Probability that the shelf's policy drew this track for this place.", minimum=0, maximum=1),
        _reason,
        Column("because", TEXTS, "The tracks of the history that carry the score most, the strongest first.", personal="derived"),
        Column("shares", NUMBERS, "The share of each of them in the score.", personal="derived"),
        *_sentences,
        _release,
    ),
)


def _similar(key: str, noun: str, *, is_sharded: bool = True) -> Table:
    return Table(
        key=key,
        owner=_OWNER,
        partitioned_by=SHARD if is_sharded else None,
        primary_key=(f"{noun}_id", "rank"),
        reads=(Reads("recommendations/release", drives=False, awaited=True), Reads("recommendations/blocks", drives=False)),
        columns=(
            *((_shard,) if is_sharded else ()),
            Column(f"{noun}_id", pl.String, f"The {noun}."),
            _rank,
            Column(f"similar_{noun}_id", pl.String, f"A {noun} like it."),
            _score,
            Column("reason", pl.String, "What carries the score most: plays, content or popularity.", allowed=REASONS),
            *(
                Column(f"reason_{code}", pl.String, f"The reason as a sentence in {language}.")
                for code, language in (("en", "English"), ("de", "German"), ("fr", "French"))
            ),
            _release,
        ),
    )


SIMILAR_TRACKS = _similar("recommendations/similar_tracks", "track")
SIMILAR_ARTISTS = _similar("recommendations/similar_artists", "artist", is_sharded=False)
RADIO = _similar("recommendations/radio", "track")
MODEL = model_table(
    "recommendations/model", _OWNER, INTERACTIONS.key, EVALUATION.key, "catalog/text_embeddings", "audio/embeddings", "audio/track_links"
)

TABLES = by_key(
    INTERACTIONS,
    BLOCKS,
    EVALUATION,
    MODEL,
    TRACK_INDEX,
    ARTIST_INDEX,
    LISTENER_INDEX,
    RELEASE,
    FOR_LISTENERS,
    SIMILAR_TRACKS,
    SIMILAR_ARTISTS,
    RADIO,
)
