"""Artificial streaming: which plays of a day nobody listened to, by three rules, each with its evidence.

What pays is a play that just passes the 30 s from which it counts, so the rules look for *cut* plays: streams of less than a
minute that did not reach the end. A person makes some, seldom the same one often. A play that its source gives no time for is
never cut: a scrobbler is not suspected for what it does not tell.

* *loop*: an account plays a track over and over, cut again and again, or all around the clock.
* *burst*: an account plays the tracks of an artist over and over, in one run of cut plays without a pause.
* *ring*: three accounts or more hang together in a graph. Two of them are joined when they start the same tracks at the same
  moments, or loop the same tracks with cut plays, far more often than chance allows.

Accounts that sleep at night and play their tracks to the end, or share a list in no common order and without repeating it, look
like people on a single day, and are not found.

All plays of an account and track are flagged together, and stay in every total; what they are a part of belongs to ``genuine``.
"""

from datetime import date

import numpy as np
import polars as pl

from spotify_ai_assets.listening.contracts import STREAM_MS
from spotify_ai_assets.listening.days import count_listener_tracks
from spotify_ai_assets.listening.insight.contracts import SUSPICIOUS_STREAMS
from spotify_ai_assets.listening.sessions import SESSION_GAP

CUT_MS = 2 * STREAM_MS
"""A play that counts, but ends before this and before the track does, is cut."""
SUSPECT_CUTS, SUSPECT_PLAYS = 10, 40
"""An account with fewer of the one and of the other is not looked at."""

LOOP_CUTS = 10
SLEEPLESS_HOURS, SLEEPLESS_PLAYS = 20, 100
"""A track that goes on in so many hours of a day, so often, is heard by nobody."""

BURST_PLAYS, BURST_PAUSE_MS = 20, 600_000

RING_ACCOUNTS = 3
STEPS, STEP_MS = 6, 30_000
"""So many plays at least do two accounts of a ring start together: of one track, within so many milliseconds of the next."""
SHARED_LOOPS, LOOPED_CUTS = 3, 3
"""Or so many tracks do both of them loop, each with so many cut plays."""
REPEATED_PLAYS = 8
"""Of an account that never sleeps, plays that are not cut are a ring's too where it plays the track so often on the day."""
NEIGHBOURS = 8
"""How many other accounts each is compared with at one moment: those next by id, so that they are the same each time."""
RUSH = 3.0
"""How much more is played in the busiest minutes than on average; to start a track together is less of a surprise then."""
CHANCE = 1e-3
"""How many pairs of accounts may be joined by chance in all of a day."""

ENOUGH = 8.0
"""Plays beyond what a person makes at which a rule is as sure as not: the score is evidence / (evidence + ENOUGH)."""
_DAY_MS = 86_400_000
_KEY = ["listener_id", "track_id"]


def find_suspicious(plays: pl.DataFrame | pl.LazyFrame, day: date) -> pl.DataFrame:
    """Flag the plays of a day that are artificial, by account and track.

    Podcasts and audiobooks are not looked at. Accounts with few cut plays and few plays of all are put aside at once, so that
    what is sorted and joined stays small, however large the day is.

    Args:
        plays: Rows of ``listening/plays``; those of other days are left out.
        day: The UTC day.

    Returns:
        Rows of ``listening/suspicious_streams`` in the order of their key. Their counts are those of the same rows in
        ``listening/listener_track_days``. The score is e / (e + 8), where e counts the plays that the rule holds against the
        account; only scores from 0.5 on are flagged.
    """
    today = plays.lazy().filter(pl.col("day") == day)
    is_cut = (pl.col("kind") == "track") & pl.col("is_stream") & ~pl.col("is_completed")
    is_cut &= pl.col("played_ms").is_between(STREAM_MS, CUT_MS, closed="left")
    # A time that equals the length stands for one that the source does not tell.
    is_cut &= pl.col("played_ms").ne_missing(pl.col("duration_ms"))
    accounts = today.group_by("listener_id").agg(total=pl.len(), cuts=is_cut.sum()).collect(engine="streaming")
    suspects = accounts.lazy().filter((pl.col("cuts") >= SUSPECT_CUTS) | (pl.col("total") >= SUSPECT_PLAYS))
    theirs = (
        today.filter(pl.col("kind") == "track")
        .with_columns(is_cut=is_cut)
        .join(suspects.select("listener_id", "total"), on="listener_id", how="inner")
        .collect(engine="streaming")
        .sort("listener_id", "started_at", "track_id")
    )
    if theirs.is_empty():
        return SUSPICIOUS_STREAMS.empty()
    odd = _odd_plays(theirs)
    # Accounts, not plays: a ring that plays a track often does not make it popular.
    popularity = (
        today.join(odd.lazy().select("track_id").unique(), on="track_id", how="semi")
        .group_by("track_id")
        .agg(popularity=pl.col("listener_id").n_unique() / accounts["total"].sum())
        .collect(engine="streaming")
    )
    odd = odd.join(popularity, on="track_id", maintain_order="left")
    # The first rule that flags a track of an account names it.
    found = pl.concat([_find_rings(odd, accounts.height), _find_bursts(theirs), _find_loops(theirs)])
    flagged = found.filter(_score() >= 0.5).unique(_KEY, keep="first", maintain_order=True)
    return _describe(flagged, theirs, day)


def _score() -> pl.Expr:
    return pl.col("evidence") / (pl.col("evidence") + ENOUGH)


def _evenness(*measures: pl.Expr) -> pl.Expr:
    """From 0, where measures vary as people's do, to 1, where one of them is the same each time.

    A measure's range between its first and last decile, as a part of its median; half of it or more is a person's.
    """
    ranges = [(one.quantile(0.9, "nearest") - one.quantile(0.1, "nearest")) / one.median() for one in measures]
    return 1 - (pl.min_horizontal(ranges) / 0.5).fill_nan(1).fill_null(1).clip(0, 1)


def _weigh(plays: pl.Expr) -> pl.Expr:
    """Plays count in full where they are as even as a machine's, a third where they vary."""
    return plays * (1 + 2 * pl.col("evenness")) / 3


def _as_found(frame: pl.DataFrame, rule: str, head: str = "listener_id") -> pl.DataFrame:
    return frame.sort(_KEY).select(*_KEY, rule=pl.lit(rule), head=head, evidence=pl.col("evidence").cast(pl.Float64))


def _find_loops(plays: pl.DataFrame) -> pl.DataFrame:
    tracks = plays.group_by(_KEY).agg(
        plays=pl.len().cast(pl.Int64), cuts=pl.col("is_cut").sum().cast(pl.Int64), hours=pl.col("started_at").dt.hour().n_unique()
    )
    is_cut = (pl.col("cuts") >= LOOP_CUTS) & (2 * pl.col("cuts") >= pl.col("plays"))
    is_sleepless = (pl.col("plays") >= SLEEPLESS_PLAYS) & (pl.col("hours") >= SLEEPLESS_HOURS)
    found = tracks.filter(is_cut | is_sleepless)
    evenness = (
        plays.join(found, on=_KEY, how="semi", maintain_order="left")
        .group_by(_KEY)
        .agg(evenness=_evenness(pl.col("played_ms").filter("is_cut"), pl.col("started_at").diff().dt.total_milliseconds()))
    )
    evidence = pl.when(is_sleepless).then(pl.col("plays")).otherwise(_weigh(pl.col("cuts")))
    return _as_found(found.join(evenness, on=_KEY).with_columns(evidence=evidence), "loop")


def _find_bursts(plays: pl.DataFrame) -> pl.DataFrame:
    pause = pl.col("started_at").diff().dt.total_milliseconds()
    is_same = pl.all_horizontal(pl.col(name) == pl.col(name).shift() for name in ("listener_id", "artist_id", "is_cut"))
    run = (~(is_same & (pause <= BURST_PAUSE_MS)).fill_null(False)).cum_sum()
    runs = (
        plays.with_columns(run=run)
        .filter("is_cut")
        .filter(pl.len().over("run") >= BURST_PLAYS)
        .group_by("run")
        .agg(
            pl.first("listener_id"),
            pl.col("track_id").unique(),
            plays=pl.len().cast(pl.Int64),
            tracks=pl.col("track_id").n_unique().cast(pl.Int64),
            evenness=_evenness(pl.col("played_ms"), pause),
        )
    )
    # Once through the tracks of an artist, a taste of each, is how people meet one: only what comes again counts.
    evidence = _weigh(pl.col("plays") - pl.col("tracks"))
    found = runs.filter(pl.col("tracks") > 1).select("listener_id", "track_id", evidence=evidence).explode("track_id")
    return _as_found(found.group_by(_KEY).agg(pl.max("evidence")), "burst")


def _odd_plays(plays: pl.DataFrame) -> pl.DataFrame:
    """The plays that may be a ring's: cut ones, and those of a track that the account plays again and again.

    Friends who listen together start everything together, but what they skip they skip once: an account whose odd plays are
    neither most of its plays nor repeated is left out.
    """
    is_sleepless = pl.col("started_at").dt.hour().n_unique().over("listener_id") >= SLEEPLESS_HOURS
    odd = (
        plays.with_columns(cuts=pl.col("is_cut").sum().over(_KEY))
        .filter(pl.col("is_cut") | (is_sleepless & (pl.len().over(_KEY) >= REPEATED_PLAYS)))
        .with_columns(odd=pl.len().over("listener_id"), tracks=pl.col("track_id").n_unique().over("listener_id"))
    )
    is_enough = (2 * pl.col("odd") >= pl.col("total")) | (2 * pl.col("odd") >= 3 * pl.col("tracks"))
    return odd.filter(is_enough).sort("track_id", "started_at", "listener_id")


def _find_rings(odd: pl.DataFrame, accounts: int) -> pl.DataFrame:
    """Accounts that hang together, and the tracks that bind them.

    Args:
        odd: Plays that may be a ring's, each with the ``popularity`` of its track, how many accounts play it for
            each play of the day.
        accounts: How many accounts there are on the day.
    """
    odd = odd.with_columns(account=pl.col("listener_id").rank("dense").cast(pl.Int64) - 1)
    is_close = (pl.col("track_id") == pl.col("track_id").shift()) & (pl.col("started_at").diff() <= pl.duration(milliseconds=STEP_MS))
    steps = odd.with_columns(
        meeting=(~is_close.fill_null(False)).cum_sum().cast(pl.Int64), likely=pl.col("popularity") * RUSH * 2 * STEP_MS / _DAY_MS
    )
    loops = odd.filter(pl.col("cuts") >= LOOPED_CUTS).with_columns(
        meeting=-1 - pl.col("track_id").rle_id().cast(pl.Int64), likely=pl.col("popularity")
    )
    steps, loops = (kind.unique(["meeting", "account"], keep="first").sort("meeting", "account") for kind in (steps, loops))
    rings = _connect(pl.concat([_join(steps, STEPS, accounts), _join(loops, SHARED_LOOPS, accounts)]))
    bound = (
        pl.concat([steps, loops])
        .join(rings, on="account", how="inner")
        .filter(pl.len().over("ring", "meeting") > 1)
        .select("ring", *_KEY)
        .unique()
    )
    played = bound.join(odd.group_by(_KEY).len("plays"), on=_KEY).group_by("ring", "listener_id").agg(pl.sum("plays"))
    # As many plays as half of its accounts make, or more.
    evidence = played.group_by("ring").agg(head=pl.min("listener_id"), evidence=pl.median("plays"))
    return _as_found(bound.join(evidence, on="ring"), "ring", head="head")


def _connect(pairs: pl.DataFrame) -> pl.DataFrame:
    """The connected accounts, ``account, ring``, of rings that are large enough."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    ends = [pairs[name].to_numpy() for name in ("account", "other")]
    size = int(max(map(np.max, ends))) + 1 if pairs.height else 0
    graph = coo_array((np.ones(pairs.height), ends), shape=(size, size))
    labels = connected_components(graph, directed=False)[1] if size else np.empty(0)
    rings = pl.DataFrame({"account": np.arange(size), "ring": labels}, schema={"account": pl.Int64, "ring": pl.Int64})
    return rings.filter(pl.len().over("ring") >= RING_ACCOUNTS)


def _join(meetings: pl.DataFrame, least: int, accounts: int) -> pl.DataFrame:
    """The pairs of accounts that meet more often than chance allows.

    Accounts that know nothing of each other meet as often as the tracks are popular: a Poisson number whose mean is the
    product of how many meetings each has and how likely one track's is. A pair is joined when the chance of as many, times
    the pairs that there are, is below ``CHANCE``.

    Args:
        meetings: ``meeting, account, likely`` in the order of the first two.
        least: So many meetings a pair has at least.
        accounts: All accounts of the day.
    """
    from scipy.special import pdtrc

    each = meetings.group_by("account").len("own")
    near = [
        meetings.select(
            "account",
            "likely",
            other=pl.col("account").shift(-distance),
            is_same=pl.col("meeting") == pl.col("meeting").shift(-distance),
        ).filter("is_same")
        for distance in range(1, NEIGHBOURS + 1)
    ]
    pairs = (
        pl.concat(near)
        .group_by("account", "other")
        .agg(pl.len().alias("met"), pl.mean("likely"))
        .filter(pl.col("met") >= least)
        .join(each, on="account")
        .join(each, left_on="other", right_on="account", suffix="_other")
    )
    expected = (pairs["own"].cast(pl.Float64) * pairs["own_other"] * pairs["likely"]).to_numpy()
    chance = pdtrc(pairs["met"].to_numpy() - 1.0, expected) * (accounts * (accounts - 1) / 2)
    return pairs.filter(pl.Series(chance <= CHANCE, dtype=pl.Boolean)).select("account", "other")


def _describe(flagged: pl.DataFrame, theirs: pl.DataFrame, day: date) -> pl.DataFrame:
    """Counts and evidence of the flagged plays.

    Cases are numbered from the one with most plays on; of equal ones the first is that of the smallest account, then track.
    """
    ended = (pl.col("started_at") + pl.duration(milliseconds="played_ms")).cum_max().shift()
    sitting = (pl.col("started_at") - ended > SESSION_GAP).fill_null(True).cum_sum().over("listener_id")
    plays = theirs.with_columns(sitting=sitting).join(flagged, on=_KEY, how="inner")
    cases = (
        plays.group_by("rule", "head")
        .agg(
            pl.len(),
            accounts=pl.col("listener_id").n_unique().cast(pl.Int64),
            tracks=pl.col("track_id").n_unique().cast(pl.Int64),
            first=pl.min("listener_id"),
            first_track=pl.min("track_id"),
        )
        .sort("len", "first", "first_track", descending=[True, False, False])
        .with_row_index("case", 1)
        .drop("len", "first", "first_track")
    )
    key = list(SUSPICIOUS_STREAMS.primary_key)
    evidence = plays.group_by(key).agg(
        pl.min("track_name", "artist_name"),
        pl.first("rule", "head", "evidence"),
        sittings=pl.col("sitting").n_unique(),
        account_share=pl.len() / pl.first("total"),
        median_played_ms=pl.col("played_ms").median().floor(),
    )
    return (
        count_listener_tracks(plays, day)
        .join(evidence, on=key, how="left")
        .join(cases, on=["rule", "head"], how="left")
        .with_columns(score=_score())
        .sort(key)
        .select(pl.col(name).cast(dtype) for name, dtype in SUSPICIOUS_STREAMS.schema.items())
    )
