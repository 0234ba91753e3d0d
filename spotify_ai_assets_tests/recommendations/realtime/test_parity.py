"""Stream and batch agree on the same listens: late, repeated and forgotten ones included; and vectors are folded in at once."""

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from stream_rows import listener

from benchmarks.realtime_world import World, serve
from spotify_ai_assets.catalog.ids import artist_id
from spotify_ai_assets.listening.contracts import EVENTS
from spotify_ai_assets.listening.days import count_listener_tracks
from spotify_ai_assets.listening.insight.contracts import TABLES as INSIGHT
from spotify_ai_assets.listening.plays import clean_plays
from spotify_ai_assets.recommendations.indices.histories import RECENT, ServedHistories, play_keys
from spotify_ai_assets.recommendations.interactions import PARTS, choose_windows, collect_interactions, make_histories
from spotify_ai_assets.recommendations.models.recipes import Recipe, fit_recipe
from spotify_ai_assets.recommendations.realtime.batches import Batches
from spotify_ai_assets.recommendations.realtime.folding import Folding
from spotify_ai_assets.recommendations.realtime.live import LivePlay, SqliteLive
from spotify_ai_assets.recommendations.realtime.messages import encode, encode_forget
from spotify_ai_assets.recommendations.realtime.parity import Parity, compare_sources, share_tops
from spotify_ai_assets.recommendations.realtime.worker import Pace, Worker
from spotify_ai_assets.recommendations.releases import open_releases
from spotify_ai_assets.recommendations.serving.items import Items, tabulate_items
from spotify_ai_assets.resources import open_vault
from spotify_ai_assets.resources.stream import SpoolStream

FIRST, DAYS, LISTENERS, TRACKS, TASTES = date(2026, 5, 1), 24, 40, 1200, 4
LAST = FIRST + timedelta(DAYS - 1)
CUT = LAST - timedelta(2)
"""The last day that the batch before has seen."""


def world_events() -> pl.DataFrame:
    """Three listens a day of each listener, mostly of a taste, some skipped or left; every fourth listener is new after the cut."""
    rng = np.random.default_rng(0)
    count = DAYS * LISTENERS * 3
    who = np.tile(np.repeat(np.arange(LISTENERS), 3), DAYS)
    taste = np.where(rng.random(count) < 0.85, who % TASTES, rng.integers(0, TASTES, count))
    tracks = taste * (TRACKS // TASTES) + rng.integers(0, TRACKS // TASTES, count)
    seconds = np.repeat(np.arange(DAYS), LISTENERS * 3) * 86_400 + rng.integers(0, 86_000, count)
    start = datetime(FIRST.year, FIRST.month, FIRST.day, tzinfo=UTC)
    reasons = rng.choice(["trackdone", "fwdbtn", "endplay"], count, p=[0.7, 0.15, 0.15])
    frame = pl.DataFrame(
        {
            "listener_id": [listener(each) for each in who],
            "started_at": [start + timedelta(seconds=int(second), microseconds=number) for number, second in enumerate(seconds)],
            "track_id": [f"name:{track:04}" for track in tracks],
            "artist_id": [artist_id(f"Band {track // 8}") for track in tracks],
            "track_name": [f"Song {track}" for track in tracks],
            "artist_name": [f"Band {track // 8}" for track in tracks],
            "reason_end": reasons,
        }
    ).with_columns(
        day=pl.col("started_at").dt.date(),
        kind=pl.lit("track"),
        played_ms=pl.lit(90_000),
        duration_ms=pl.lit(180_000),
        country=pl.lit("SE"),
        platform=pl.lit("ios"),
        is_minute_grain=pl.lit(False),
        source=pl.lit("test"),
    )
    late = pl.col("listener_id").is_in([listener(number) for number in range(0, LISTENERS, 4)])
    frame = frame.filter((pl.col("day") > CUT) | ~late)
    missing = [pl.lit(None, dtype=dtype).alias(name) for name, dtype in EVENTS.schema.items() if name not in frame.columns]
    return frame.with_columns(missing).select(pl.col(name).cast(dtype) for name, dtype in EVENTS.schema.items())


def batch_histories(events: pl.DataFrame, last: date, items: np.ndarray | None = None) -> ServedHistories:
    """What the daily tables and the index of listeners make of listens up to a day."""
    known = events.filter(pl.col("day") <= last)
    plays = pl.concat([clean_plays(known, day) for day in known["day"].unique().sort()])
    days = pl.concat([count_listener_tracks(plays, day) for day in plays["day"].unique().sort()])
    nothing = INSIGHT["listening/suspicious_streams"].empty().lazy()
    interactions = collect_interactions(days.lazy(), nothing, choose_windows(FIRST, last))
    as_of = datetime(last.year, last.month, last.day, 23, 59, 59, tzinfo=UTC)
    recent = play_keys(plays.filter(pl.col("started_at") >= as_of - RECENT))
    return ServedHistories(make_histories(interactions, PARTS, items), recent, as_of)


def items_of(tracks: np.ndarray, events: pl.DataFrame) -> Items:
    played = events.select("track_id", name="track_name", artist_id="artist_id", artist_name="artist_name").unique("track_id")
    catalogue = played.clear().with_columns(album_id=pl.lit(None, pl.String), is_explicit=pl.lit(None, pl.Boolean))
    albums = pl.DataFrame(schema={"album_id": pl.String, "released_on": pl.Date})
    return Items.from_frame(tabulate_items(tracks, catalogue, albums, played))


@pytest.fixture(scope="module")
def events() -> pl.DataFrame:
    return world_events()


def stream(lake, folder: Path, pieces: Iterable[pl.DataFrame], forget: str) -> SqliteLive:
    """Send listens through a worker; somebody is to be forgotten half way."""
    spool, live = SpoolStream(folder / "stream"), SqliteLive(folder / "live.db")
    for number, piece in enumerate(pieces):
        spool.append("listen", encode(piece))
        if number == 1:
            spool.append("forget", [encode_forget(forget)])
    clock = lambda: datetime(LAST.year, LAST.month, LAST.day, 23, 59, 59, tzinfo=UTC)  # noqa: E731
    batches = Batches(lake, folder / "journal.json", clock=clock)
    Worker(spool, live, batches, clock=clock, pace=Pace(wait_s=0.01, gather_s=0.0), until_empty=True).run()
    spool.close()
    return live


def test_batch_and_stream_agree_on_late_repeated_and_forgotten_listens(lake, tmp_path: Path, events: pl.DataFrame):
    rng, gone = np.random.default_rng(1), listener(3)
    is_late = pl.Series(rng.random(events.height) < 0.05) & (events["day"] > CUT - timedelta(5)) & (events["day"] <= CUT)
    early, since = events.filter(~is_late & (events["day"] <= CUT)), events.filter(is_late | (events["day"] > CUT))
    shuffled = since.sample(fraction=1, shuffle=True, seed=2)
    repeated = pl.concat([shuffled, since.sample(200, seed=3), early.filter(pl.col("day") == CUT)])
    live = stream(lake, tmp_path, repeated.iter_slices(60), gone)
    after = events.filter(pl.col("listener_id") != gone)
    batch = batch_histories(after, LAST)
    tracks = batch.histories.items
    before = batch_histories(early.filter(pl.col("listener_id") != gone), CUT, tracks)
    model = fit_recipe(Recipe({"ease": {}}, {"ease": 1.0}), batch.histories.matrix)
    people = [listener(number) for number in range(LISTENERS) if number != 3]
    plays = {each: live.plays(each) for each in people}
    found = compare_sources(model, batch, before, plays, items_of(tracks, events), people)
    assert found.overlap >= 0.99 and found.least >= 0.9 and found.listeners == LISTENERS - 1
    without = compare_sources(model, batch, before, {}, items_of(tracks, events), people)
    assert without.overlap < found.overlap - 0.1
    doubled = {each: [LivePlay(play.key ^ 1, play.track_id, play.value * 20, play.started_at) for play in plays[each]] for each in people}
    assert compare_sources(model, batch, before, doubled, items_of(tracks, events), people).overlap < found.overlap - 0.01
    assert live.plays(gone) == []
    live.close()


def test_histories_are_those_of_the_batch_to_the_last_digit(lake, tmp_path: Path, events: pl.DataFrame):
    from spotify_ai_assets.recommendations.serving.merging import merge_plays

    live = stream(lake, tmp_path, [events.filter(pl.col("day") > CUT)], listener(10_000))
    batch = batch_histories(events, LAST)
    before, items = batch_histories(events, CUT, batch.histories.items), items_of(batch.histories.items, events)
    differences: list[np.ndarray] = []
    for number in range(LISTENERS):
        counted, folded = (
            merge_plays(each, listener(number), plays, items) for each, plays in ((batch, ()), (before, live.plays(listener(number))))
        )
        shared = np.intersect1d(counted.items, folded.items)
        # A value of 0 or below is not in the matrix of the batch before: what is played after a skip begins anew.
        assert len(shared) >= 0.97 * len(counted.items)
        ours, theirs = (each.weights[np.isin(each.items, shared)] for each in (folded, counted))
        differences.append(np.abs(ours - theirs))
    assert np.mean(np.concatenate(differences) < 1e-5) > 0.98
    live.close()


def test_nobody_to_compare_agrees_and_tops_of_one_history_are_the_same(events: pl.DataFrame):
    batch = batch_histories(events, LAST)
    model = fit_recipe(Recipe({"ease": {}}, {"ease": 1.0}), batch.histories.matrix)
    items = items_of(batch.histories.items, events)
    assert compare_sources(model, batch, batch, {}, items, []) == Parity(1.0, 1.0, 0)
    matrix = batch.histories.matrix
    assert share_tops(model, matrix, matrix).tolist() == [1.0] * matrix.shape[0]
    assert share_tops(model, matrix, matrix[::-1]).mean() < 0.9


def test_vectors_of_listeners_follow_their_plays(settings, tmp_path: Path):
    world, live = World(listeners=60, tracks=400), SqliteLive(tmp_path / "live.db")
    folding = Folding(open_releases(settings), live)
    folding([listener(1)])
    assert live.vector(listener(1)) is None and folding.nearest(listener(1), 3) == []
    serve(settings, world)
    stranger, known = listener(1), open_vault(settings).swap([world.user(5)])[world.user(5)]
    now = datetime.now(UTC)
    opened = open_releases(settings).open_current()
    width = world.tracks // 20
    plays = {
        who: [LivePlay(1000 * place + number, world.track_id(7 * width + number), 1.0, now) for number in range(8)]
        for place, who in enumerate((stranger, known))
    }
    live.put(plays, now)
    folding([stranger, known])
    found = live.vector(stranger)
    assert found is not None and found.release == opened.version and np.linalg.norm(found.vector) == pytest.approx(1, abs=1e-5)
    moved = live.vector(known)
    assert moved is not None and float(moved.vector @ opened.listeners.vectors_of([known])[0]) < 0.999
    near = folding.nearest(stranger, 3)
    users = {pseudonym: user for user, pseudonym in open_vault(settings).swap(world.user(number) for number in range(60)).items()}
    assert stranger not in near and {int(users[each].rpartition("-")[2]) % 20 for each in near if each != known} == {7}
    live.close()
