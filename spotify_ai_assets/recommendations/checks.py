"""The checks of recommendations: nothing from the future, recipes that earn their place, indices that find, shelves as promised."""

from itertools import pairwise

import dagster as dg
import polars as pl

from spotify_ai_assets.contracts import SHARD, SHARDS, Table
from spotify_ai_assets.loading import check
from spotify_ai_assets.partitions import run_shards
from spotify_ai_assets.recommendations.contracts import (
    ARTIST_INDEX,
    BLOCKS,
    EVALUATION,
    FOR_LISTENERS,
    INTERACTIONS,
    LISTENER_INDEX,
    MODEL,
    RADIO,
    RELEASE,
    SIMILAR_ARTISTS,
    SIMILAR_TRACKS,
    TRACK_INDEX,
)
from spotify_ai_assets.recommendations.interactions import drop_suspicious
from spotify_ai_assets.resources.lake import Lake

LEAST_RECALL = 0.97
MOST_OF_AN_ARTIST = 2
LEAST_OVERLAP, LEAST_PLAYS = 0.9, 20


def _lake(context: dg.AssetCheckExecutionContext) -> Lake:
    return context.resources.lake


def _rows(context: dg.AssetCheckExecutionContext, table: Table) -> pl.LazyFrame:
    """The rows of the shards that the run made; of a run without shards all."""
    shards = run_shards(context.op_execution_context.run.tags)
    rows = _lake(context).scan(table.key)
    return rows.filter(pl.col(SHARD).is_in(shards)) if table.is_sharded and shards and len(shards) < len(SHARDS) else rows


def _verdict(broken: int, *, blocking: bool = True, **metadata: float | str) -> dg.AssetCheckResult:
    severity = dg.AssetCheckSeverity.ERROR if blocking else dg.AssetCheckSeverity.WARN
    return dg.AssetCheckResult(passed=broken == 0, severity=severity, metadata={"broken": broken, **metadata})


def _count(rows: pl.LazyFrame) -> int:
    return rows.select(pl.len()).collect().item()


@check(INTERACTIONS, blocking=True, required_resource_keys={"lake"})
def nothing_is_from_the_future(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """The windows follow each other without a day in two of them, and hold exactly the plays of their own days."""
    rows = _lake(context).scan(INTERACTIONS.key)
    spans = rows.group_by("part").agg(pl.col("first_on").min(), pl.col("last_on").max(), pl.col("plays").sum()).collect()
    by_part = {row["part"]: row for row in spans.iter_rows(named=True)}
    order = [by_part[part] for part in ("train", "valid", "test") if part in by_part]
    overlapping = sum(one["last_on"] >= other["first_on"] for one, other in pairwise(order))
    days, flagged = (_lake(context).scan(f"listening/{name}") for name in ("listener_track_days", "suspicious_streams"))
    genuine = [drop_suspicious(days, flagged, row["first_on"], row["last_on"]) for row in order]
    recounted = [rows_of_part.select(pl.col("plays").sum()).collect().item() for rows_of_part in genuine]
    differing = sum(found != row["plays"] for found, row in zip(recounted, order, strict=True))
    return _verdict(overlapping + differing, pairs=_count(rows), overlapping=overlapping, differing=differing)


@check(BLOCKS, required_resource_keys={"lake"})
def blocks_name_items(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """Each block names a track or an artist that the catalogue or somebody's plays know."""
    lake = _lake(context)
    known = pl.concat(
        [
            lake.scan("catalog/tracks").select(item_id="track_id"),
            lake.scan("catalog/tracks").select(item_id="artist_id"),
            lake.scan(INTERACTIONS.key).select(item_id="track_id"),
            lake.scan(INTERACTIONS.key).select(item_id="artist_id"),
        ]
    ).unique()
    rows = lake.scan(BLOCKS.key)
    return _verdict(_count(rows.join(known, on="item_id", how="anti")), blocking=False, blocks=_count(rows))


@check(EVALUATION, blocking=True, required_resource_keys={"lake", "workshop"})
def something_may_serve(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """The challenger passed its gate, or a champion's recipe stands that it could not beat."""
    found = _gate(context)
    if found is None:
        return dg.AssetCheckResult(passed=True, metadata={"rehearsed": False})
    gate, stands = found
    return _verdict(
        int(not (gate.passed or stands)), challenger="passed" if gate.passed else "; ".join(gate.failed), champion_stands=stands
    )


@check(EVALUATION, required_resource_keys={"lake", "workshop"})
def the_challenger_holds(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """The challenger passed its gate; where it did not, this says why, and the champion's recipe is fitted instead."""
    found = _gate(context)
    if found is None:
        return dg.AssetCheckResult(passed=True, metadata={"rehearsed": False})
    gate, _ = found
    figures = {check.name: _shown(check.value) for check in gate.checks}
    return dg.AssetCheckResult(passed=gate.passed, severity=dg.AssetCheckSeverity.WARN, metadata=figures)


def _gate(context: dg.AssetCheckExecutionContext):
    """What the gate said of the challenger, and whether a champion stands."""
    from spotify_ai_assets.recommendations.trainings import kept_recipe
    from spotify_ai_assets.training.gates import GateResult

    rows = _lake(context).scan(EVALUATION.key).collect()
    if rows.is_empty():
        return None
    kept = kept_recipe(context.resources.workshop, rows)
    return GateResult.from_json(kept["gate"]), kept["winner"] != kept["recipe"]


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


@check(MODEL, blocking=True, required_resource_keys={"lake", "workshop"})
def the_model_answers(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """The version that serves is whole, and gives every item a finite score for a history and for none."""
    import numpy as np
    from scipy.sparse import csr_matrix

    from spotify_ai_assets.recommendations.indexing import Serving

    if _lake(context).state(MODEL.key, None) is None or context.resources.workshop.champion(MODEL.key) is None:
        return dg.AssetCheckResult(passed=True, metadata={"serves": False})
    serving = Serving.of(context.resources.workshop)
    count = len(serving.known)
    asked = csr_matrix((np.ones(1, np.float32), np.array([0]), np.array([0, 1, 1])), shape=(2, count))
    scores = serving.model.score(asked, ["ZZ", "ZZ"])
    return _verdict(int((~np.isfinite(scores)).sum()) + abs(serving.model.items - count), items=count, version=serving.version)


def _recall(context: dg.AssetCheckExecutionContext, table: Table) -> dg.AssetCheckResult:
    rows = _lake(context).scan(table.key).collect()
    found = dict(rows.select("metric", "value").iter_rows())
    recall = found.get("recall_at_10", 1.0)
    return _verdict(int(recall < LEAST_RECALL), recall_at_10=recall, vectors=found.get("vectors", 0.0))


@check(TRACK_INDEX, blocking=True, required_resource_keys={"lake"})
def tracks_are_found(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """The index finds at least 97 % of the ten nearest tracks that exact search finds."""
    return _recall(context, TRACK_INDEX)


@check(ARTIST_INDEX, blocking=True, required_resource_keys={"lake"})
def artists_are_found(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """The index finds at least 97 % of the ten nearest artists that exact search finds."""
    return _recall(context, ARTIST_INDEX)


@check(LISTENER_INDEX, blocking=True, required_resource_keys={"lake"})
def listeners_are_found(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """The index finds at least 97 % of the ten nearest listeners that exact search finds."""
    return _recall(context, LISTENER_INDEX)


@check(LISTENER_INDEX, required_resource_keys={"lake", "workshop"})
def folding_in_agrees(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """Listeners of 20 plays or more get the same from the batch as from the batch of the day before and the last day's plays live.

    Compared are the 50 best tracks of each; nine tenths must be the same on average.
    """
    from spotify_ai_assets.recommendations.agreement import compare_with_live

    found = compare_with_live(_lake(context), context.resources.workshop, least_plays=LEAST_PLAYS)
    return _verdict(int(found.overlap < LEAST_OVERLAP), overlap_at_50=found.overlap, least=found.least, listeners=found.listeners)


@check(RELEASE, blocking=True, required_resource_keys={"lake", "workshop"})
def the_release_serves(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """The release that was made is the one that serves, and opens with every byte as it was."""
    made = _lake(context).scan(RELEASE.key).select("release").unique().collect()["release"].to_list()
    if not made:
        return dg.AssetCheckResult(passed=True, metadata={"serves": False})
    releases = context.resources.workshop.releases
    opened = releases.open_current()
    return _verdict(int(made != [opened.version]), version=opened.version, items=opened.items.height)


@check(FOR_LISTENERS, blocking=True, required_resource_keys={"lake", "workshop"})
def shelves_keep_their_word(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """No track twice on a shelf, at most two of an artist, nothing blocked, and nothing on discovery or fresh releases that was heard."""
    from spotify_ai_assets.recommendations.publishing import count_broken

    rows = _rows(context, FOR_LISTENERS).collect()
    if rows.is_empty():  # no release may serve yet
        return dg.AssetCheckResult(passed=True, metadata={"broken": 0, "listeners": 0, "rows": 0})
    found = count_broken(rows, _lake(context).scan(BLOCKS.key).collect(), context.resources.workshop, MOST_OF_AN_ARTIST)
    listeners = rows["listener_id"].n_unique()
    broken = sum(found.values())
    return dg.AssetCheckResult(passed=broken == 0, metadata={"broken": broken, "listeners": listeners, "rows": rows.height, **found})


@check(FOR_LISTENERS, required_resource_keys={"lake"})
def shelves_are_full(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """Every listener has a daily mix and a discovery shelf, both of full length."""
    rows = _rows(context, FOR_LISTENERS).filter(pl.col("shelf").is_in(["daily_mix", "discovery"]))
    lengths = rows.group_by("listener_id", "shelf").len().collect()
    longest = lengths["len"].max() or 0
    return _verdict(lengths.filter(pl.col("len") < longest).height, blocking=False, shelves=lengths.height, places=str(longest))


def _alike(context: dg.AssetCheckExecutionContext, table: Table, noun: str) -> dg.AssetCheckResult:
    rows = _rows(context, table)
    itself = _count(rows.filter(pl.col(f"{noun}_id") == pl.col(f"similar_{noun}_id")))
    twice = _count(rows) - _count(rows.select(f"{noun}_id", f"similar_{noun}_id").unique())
    return _verdict(itself + twice, rows=_count(rows), itself=itself, twice=twice)


@check(SIMILAR_TRACKS, blocking=True, required_resource_keys={"lake"})
def no_track_is_like_itself(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """No track is recommended for itself, and none twice."""
    return _alike(context, SIMILAR_TRACKS, "track")


@check(SIMILAR_ARTISTS, blocking=True, required_resource_keys={"lake"})
def no_artist_is_like_themselves(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """No artist is recommended for themselves, and none twice."""
    return _alike(context, SIMILAR_ARTISTS, "artist")


@check(RADIO, blocking=True, required_resource_keys={"lake"})
def the_radio_goes_on(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """No track follows itself, and none comes twice."""
    return _alike(context, RADIO, "track")
