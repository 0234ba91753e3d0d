"""What a process sees while its clock is turned: run under libfaketime, prints one JSON document.

The clock is turned by a file that libfaketime reads again at every look; the kernel's own time, which files are stamped with,
stays what it is.
"""

import json
import os
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

FOLDER = Path(sys.argv[1])


def turn_clock(moment: str) -> None:
    """Let it be a moment, UTC, from now on; time goes on from there."""
    stamp = FOLDER / "stamp"
    stamp.write_text("")
    offset = datetime.fromisoformat(moment).replace(tzinfo=UTC).timestamp() - stamp.stat().st_mtime
    Path(os.environ["FAKETIME_TIMESTAMP_FILE"]).write_text(f"{offset:+.3f}")
    told = datetime.now(UTC)
    assert abs((told - datetime.fromisoformat(moment).replace(tzinfo=UTC)).total_seconds()) < 30, f"the clock could not be turned: {told}"


def day_partitions() -> dict[str, str]:
    """The newest day partition at moments around a leap day and both changes of Berlin's clocks."""
    from spotify_ai_assets.partitions import DAYS

    moments = [
        "2028-02-28 23:59:00",
        "2028-02-29 00:01:00",
        "2028-02-29 23:58:00",
        "2028-03-01 00:01:00",
        "2026-03-28 23:58:00",  # 00:58 of the 29th in Berlin
        "2026-03-29 00:58:00",
        "2026-03-29 01:01:00",
        "2026-10-24 23:58:00",  # 01:58 of the 25th in Berlin
        "2026-10-25 00:59:00",
        "2026-10-25 01:01:00",
        "2027-01-01 00:01:00",
    ]
    found = {}
    for moment in moments:
        turn_clock(moment)
        keys = DAYS.get_partition_keys()
        assert len(set(keys)) == len(keys) == (date.fromisoformat(keys[-1]) - date(2002, 10, 1)).days + 1
        found[moment] = keys[-1]
    return found


def chain_and_lake() -> dict[str, Any]:
    """A chain and a table that are written to while the clock jumps a year ahead, and back, and back behind the beginning."""
    sys.path.append(str(Path(__file__).resolve().parents[1] / "resources"))
    from lake_tables import DAY, day_rows, later, numbers, open_lake

    from spotify_ai_assets.resources.chain import Chain
    from spotify_ai_assets.resources.chain_records import Head

    chain, lake = Chain(f"sqlite:///{FOLDER}/ledger.db", "audit"), open_lake(FOLDER)
    lake.write("a/days", day_rows({"other": 1}, later(1)), later(1))
    heads: list[Head] = []
    seen = []
    for number, moment in enumerate(["2026-06-01 12:00:00", "2027-06-01 12:00:00", "2026-06-01 12:00:05", "1999-12-31 23:59:58"]):
        turn_clock(moment)
        chain.append("deed", {"n": number})
        heads.append(chain.head())
        lake.write("a/days", day_rows({"n": number}), DAY)
        seen.append(numbers(lake))
        lake.vacuum("a/days", keep=timedelta(days=7))
        assert numbers(lake) == {"n": number} and numbers(lake, later(1)) == {"other": 1}
    newest = chain.newest("deed")
    return {
        "broken": chain.verify(*heads),
        "order": [record.body["n"] for record in chain.records()],
        "newest": newest.body["n"] if newest else None,
        "years": [record.at.year for record in chain.records()],
        "seen": seen,
        "mended": lake.mend("a/days"),
    }


def heads_and_backups() -> dict[str, Any]:
    """What is thrown away of heads and backups while the clock is a year ahead, then right again."""
    from spotify_ai_assets.maintenance.backup.saving import kept, utc_now
    from spotify_ai_assets.maintenance.backup.snapshots import Snapshot, new_id
    from spotify_ai_assets.observability.audit.heads import Heads, sign_head
    from spotify_ai_assets.resources.chain_records import Head

    heads, seed = Heads(str(FOLDER / "heads")), bytes(32)
    turn_clock("2028-02-29 12:00:00")
    begin = utc_now()
    for hour in range(6):
        heads.put(sign_head("audit", Head(hour + 1, f"{hour:064x}"), begin - timedelta(hours=hour), seed))
    names = [new_id(begin - timedelta(days=age)) for age in range(40)]
    fields = Snapshot.__dataclass_fields__
    rest = {name: 0 for name in fields if name not in ("id", "at")}
    snapshots = [Snapshot(**{**rest, "id": name, "at": begin - timedelta(days=age)}) for age, name in enumerate(names)]
    right = kept(snapshots, utc_now())
    turn_clock("2027-02-28 12:00:00")
    behind = kept(snapshots, utc_now())
    removed_behind = heads.thin(utc_now())
    turn_clock("2028-02-29 12:10:00")
    return {
        "kept": [names.index(name) for name in sorted(right, reverse=True)],
        "behind": len(behind),
        "removed_behind": removed_behind,
        "removed": heads.thin(utc_now()),
    }


LOOKS: tuple[Callable[[], Any], ...] = (day_partitions, chain_and_lake, heads_and_backups)

if __name__ == "__main__":
    print(json.dumps({look.__name__: look() for look in LOOKS}))
