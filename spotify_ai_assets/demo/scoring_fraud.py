"""How much of the planted artificial streaming is flagged, and how much that is flagged was not planted.

* A play was planted when its account, track and day are those of a looping account, a farm or a night burst. Plays that an outage
  or a lost file swallowed are not in the lake and do not count.
* Precision is the share of planted plays in the flagged ones, recall that of flagged plays in the planted ones. Nothing flagged is
  never wrong, nothing planted never missed: then they are 1. In a clean world every flagged play is wrong.
"""

from collections.abc import Mapping
from typing import Any

import polars as pl

from spotify_ai_assets.catalog.ids import spotify_id
from spotify_ai_assets.contracts import DAY

_KINDS = ("looping", "farms", "night_bursts")
_KEY = [DAY, "listener_id", "track_id"]


def score_fraud(
    found: pl.DataFrame, truth: Mapping[str, Any], listener_track_days: pl.DataFrame, pseudonyms: Mapping[str, str]
) -> dict[str, Any]:
    """Score the flagged plays of a demo world.

    Args:
        found: Rows of ``listening/suspicious_streams`` of all days.
        truth: The world's ``truth.json``.
        listener_track_days: Rows of ``listening/listener_track_days`` of the same days.
        pseudonyms: The listener id of each user id that ``fraudsters`` gives; one that is missing never got into the lake.

    Returns:
        Plays ``planted``, ``flagged`` and both, ``caught``; ``precision`` and ``recall``; under ``kinds`` the planted and caught
        plays of looping accounts, farms and night bursts.
    """
    planted = listener_track_days.join(_plant(truth, pseudonyms), on=_KEY, how="inner").group_by(*_KEY, "kind_planted").agg(pl.sum("plays"))
    caught = planted.join(found, on=_KEY, how="semi")
    kinds = {
        kind: {name: _plays(rows.filter(pl.col("kind_planted") == kind)) for name, rows in (("planted", planted), ("caught", caught))}
        for kind in _KINDS
    }
    counts = {"planted": _plays(planted), "flagged": _plays(found), "caught": _plays(caught)}
    return {
        **counts,
        "precision": counts["caught"] / counts["flagged"] if counts["flagged"] else 1.0,
        "recall": counts["caught"] / counts["planted"] if counts["planted"] else 1.0,
        "kinds": kinds,
    }


def fraudsters(truth: Mapping[str, Any]) -> list[str]:
    """The user ids of all accounts that stream artificially in a demo world."""
    return sorted({user for kind in _KINDS for scheme in truth["artificial_streaming"][kind] for user in _users(scheme)})


def _plant(truth: Mapping[str, Any], pseudonyms: Mapping[str, str]) -> pl.DataFrame:
    rows = [
        (day, pseudonyms[user], track, kind)
        for kind in _KINDS
        for scheme in truth["artificial_streaming"][kind]
        for user in _users(scheme)
        if user in pseudonyms
        for track in scheme.get("tracks") or [scheme["track"]]
        for day in scheme["days"]
    ]
    planted = pl.DataFrame(rows, schema=dict.fromkeys((*_KEY, "kind_planted"), pl.String), orient="row")
    return planted.with_columns(pl.col(DAY).str.to_date(), track_id="spotify:" + spotify_id("track_id")).unique(_KEY)


def _users(scheme: Mapping[str, Any]) -> list[str]:
    return scheme.get("listeners") or [scheme["listener"]]


def _plays(rows: pl.DataFrame) -> int:
    return int(rows["plays"].sum())
