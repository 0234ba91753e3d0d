"""Files far larger than a batch are read in flat memory."""

import json
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
import zstandard

READER = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from spotify_ai_assets.listening.formats import detect, open_members
good = bad = 0
for member in open_members(Path(sys.argv[1])):
    for batch in detect(member).read(member, datetime(2026, 7, 1, tzinfo=UTC)):
        good, bad = good + batch.frame.height, bad + batch.rejected.height
# Not ru_maxrss: a process inherits it from the one that started it.
peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print(good, bad, int(peak.split()[1]) // 1024)
"""
RECORD = {
    "ts": "2024-04-20T18:15:22Z",
    "platform": "ios",
    "ms_played": 22_000,
    "master_metadata_track_name": "Amber Lanes",
    "master_metadata_album_artist_name": "Nine Kites",
    "ip_addr": "x" * 800,
}
RECORDS = 200_000
MIB = 600


def _write(path: Path, kind: str) -> tuple[int, int]:
    text = json.dumps(RECORD)
    if kind == "lines":
        path.write_text((text + "\n") * RECORDS)
    elif kind == "array":
        path.write_text("[" + (text + ",") * (RECORDS - 1) + text + "]")
    elif kind == "zstd":
        path.write_bytes(zstandard.compress(("[" + (text + ",") * (RECORDS - 1) + text + "]").encode()))
    elif kind == "parquet":
        row = {"user_id": "u", "started_at": 1713636900, "track_name": "Amber", "artist_name": "Nine Kites"}
        pl.concat([pl.DataFrame([row])] * 100).select(pl.all().repeat_by(50_000).explode()).write_parquet(path)
        return 5_000_000, 0
    else:
        long = json.dumps({**RECORD, "ip_addr": "x" * (100 << 20)})
        path.write_text(f"{text}\n{long}\n{text}\n" if kind == "long line" else f"[{text},{long},{text}]")
        return 2, 1
    return RECORDS, 0


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from Linux's /proc")
@pytest.mark.parametrize("kind", ["lines", "array", "zstd", "parquet", "long line", "long record"])
def test_memory_does_not_grow_with_the_file(tmp_path, kind):
    path = tmp_path / "file"
    expected = _write(path, kind)
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run([sys.executable, "-c", READER, str(path)], cwd=root, capture_output=True, text=True, check=True, timeout=300)
    good, bad, peak = map(int, done.stdout.split())
    assert (good, bad) == expected
    assert peak < MIB
