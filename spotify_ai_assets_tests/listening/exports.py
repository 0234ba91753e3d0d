"""Small exports of listening histories, and an intake to take them; shared by the tests of intake."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from spotify_ai_assets.listening.contracts import EVENTS, IMPORTS, REJECTED
from spotify_ai_assets.listening.intake import FileReport, Intake
from spotify_ai_assets.resources.identities import Vault, seeded_pseudonyms
from spotify_ai_assets.resources.lake import Lake

NOW = datetime(2026, 7, 1, tzinfo=UTC)
BEGIN = datetime(2026, 3, 2, 8, tzinfo=UTC)


def open_intake(lake: Lake, folder: Path, **options: Any) -> Intake:
    vault = Vault(f"sqlite:///{folder / 'vault' / 'identities.db'}", seeded_pseudonyms("test"))
    return Intake(lake, vault, **{"listener": "somebody", "scratch": folder / "scratch", "now": NOW, **options})


def native(number: int, **changes: Any) -> dict[str, Any]:
    """The numbered listen in our own format, a minute after the one before."""
    return {
        "user_id": "real.user@example.invalid",
        "started_at": (BEGIN + timedelta(minutes=number)).isoformat(),
        "track_name": f"Song {number % 7}",
        "artist_name": f"Artist {number % 3}",
        "played_ms": 50_000,
        **changes,
    }


def extended(number: int, **changes: Any) -> dict[str, Any]:
    """The numbered listen in Spotify's extended history."""
    return {
        "ts": (BEGIN + timedelta(minutes=number, seconds=number % 60)).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "platform": "ios",
        "ms_played": 40_000 + number,
        "conn_country": "DE",
        "ip_addr": "203.0.113.77",
        "master_metadata_track_name": f"Song {number % 7}",
        "master_metadata_album_artist_name": f"Artist {number % 3}",
        "spotify_track_uri": f"spotify:track:{number % 7:022}",
        "reason_start": "trackdone",
        **changes,
    }


def account(number: int) -> dict[str, Any]:
    """The same listen in the account data."""
    listen = extended(number)
    return {
        "endTime": listen["ts"][:16].replace("T", " "),
        "artistName": listen["master_metadata_album_artist_name"],
        "trackName": listen["master_metadata_track_name"],
        "msPlayed": listen["ms_played"],
    }


def lines(records: Iterable[Any]) -> bytes:
    return b"".join((one if isinstance(one, bytes) else json.dumps(one).encode()) + b"\n" for one in records)


def write(path: Path, contents: bytes | list) -> Path:
    """A file of bytes, or of an array of JSON records."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(contents if isinstance(contents, bytes) else json.dumps(contents).encode())
    return path


def counts(report: FileReport) -> tuple[int, int, int, int]:
    """Rows, stored, duplicate, rejected, which must add up."""
    assert report.rows == report.stored + report.duplicate + report.rejected
    return report.rows, report.stored, report.duplicate, report.rejected


def digests(lake: Lake) -> dict[str, str]:
    """What lies in listening/events, by day."""
    return {name: state.digest for name, state in lake.states(EVENTS.key).items()}


def rejections(lake: Lake) -> list[tuple[int, str]]:
    return sorted(lake.scan(REJECTED.key).select("row", "rule").collect().rows())


def imports(lake: Lake) -> list[dict[str, Any]]:
    return lake.scan(IMPORTS.key).collect().sort("imported_at", "file_sha256").to_dicts()
