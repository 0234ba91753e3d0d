"""Logs are put aside, compressed and removed in their time, and no line is lost."""

import gzip
import json
import logging
import os
from datetime import UTC, datetime, timedelta
from logging.handlers import WatchedFileHandler
from pathlib import Path

import pytest

from spotify_ai_assets.maintenance.upkeep.rotation import QUIET, Turn, compress, plan_turn, turn

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def plan(data: Path, now: datetime = NOW, most_bytes: int = 1000) -> Turn:
    return plan_turn(data / "logs", data / "storage", now, most_bytes=most_bytes, plain_days=7, keep_days=30)


def write(path: Path, text: str, at: datetime) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, (at.timestamp(), at.timestamp()))
    return path


def line(at: datetime, text: str = "x") -> str:
    return json.dumps({"at": at.isoformat(timespec="milliseconds"), "message": text}) + "\n"


def test_a_log_of_yesterday_and_a_large_one_are_put_aside_and_others_stay(tmp_path: Path) -> None:
    write(tmp_path / "logs" / "platform.jsonl", line(NOW - timedelta(days=1)) + line(NOW), NOW)
    write(tmp_path / "logs" / "large.log", "x" * 1001, NOW)
    write(tmp_path / "logs" / "today.jsonl", line(NOW - timedelta(hours=11)), NOW)
    write(tmp_path / "logs" / "empty.jsonl", "", NOW - timedelta(days=9))
    found = plan(tmp_path)
    assert {(old.name, new.name) for old, new in found.aside} == {
        ("platform.jsonl", "platform-20260301T120000Z.jsonl"),
        ("large.log", "large-20260301T120000Z.log"),
    }
    assert (found.compressed, found.expired) == ((), ())
    turn(found)
    assert not (tmp_path / "logs" / "platform.jsonl").exists()
    assert (tmp_path / "logs" / "today.jsonl").exists()


def test_what_was_put_aside_is_compressed_once_it_is_quiet_and_goes_after_its_days(tmp_path: Path) -> None:
    text = "".join(line(NOW, f"line {number}") for number in range(200))
    aside = write(tmp_path / "logs" / "platform-20260301T120000Z.jsonl", text, NOW)
    assert plan(tmp_path, NOW + QUIET / 2).compressed == ()
    found = plan(tmp_path, NOW + 2 * QUIET)
    assert found.compressed == (aside,)
    assert turn(found) > 0
    packed = aside.with_name(f"{aside.name}.gz")
    assert not aside.exists()
    assert gzip.decompress(packed.read_bytes()).decode() == text
    assert plan(tmp_path, NOW + 3 * QUIET) == Turn((), (), ())
    assert plan(tmp_path, NOW + timedelta(days=29)).expired == ()
    assert plan(tmp_path, NOW + timedelta(days=31)).expired == (packed,)
    turn(plan(tmp_path, NOW + timedelta(days=31)))
    assert list((tmp_path / "logs").iterdir()) == []
    assert (tmp_path / "logs").is_dir()


def test_what_steps_printed_is_compressed_later_and_goes_with_its_folder(tmp_path: Path) -> None:
    prints = tmp_path / "storage" / "run" / "compute_logs"
    for name, text in (("a.out", "out" * 99), ("a.err", ""), ("a.complete", "")):
        write(prints / name, text, NOW)
    stored = write(tmp_path / "storage" / "run" / "result", "not printed", NOW - timedelta(days=400))
    assert plan(tmp_path, NOW + timedelta(days=6)).compressed == ()
    found = plan(tmp_path, NOW + timedelta(days=8))
    assert found.compressed == (prints / "a.out",)
    turn(found)
    assert gzip.decompress((prints / "a.out.gz").read_bytes()) == b"out" * 99
    turn(plan(tmp_path, NOW + timedelta(days=31)))
    assert not prints.exists()
    assert stored.exists()


def test_two_turns_in_one_second_take_two_names(tmp_path: Path) -> None:
    for number in range(3):
        write(tmp_path / "logs" / "platform.jsonl", f"{number}" * 2000, NOW)
        turn(plan(tmp_path))
    names = sorted(path.name for path in (tmp_path / "logs").iterdir())
    assert names == ["platform-20260301T120000Z.1.jsonl", "platform-20260301T120000Z.2.jsonl", "platform-20260301T120000Z.jsonl"]
    assert len(plan(tmp_path, NOW + 2 * QUIET).compressed) == 3


def test_a_writer_goes_on_in_a_new_file_and_no_line_is_lost(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    handler = WatchedFileHandler(tmp_path / "logs" / "platform.jsonl", delay=True)
    logger = logging.Logger("rotated")
    logger.addHandler(handler)
    begin = datetime.now(UTC)
    for number in range(60):
        logger.info("%d", number)
        if number % 20 == 19:
            turn(plan(tmp_path, begin + number * timedelta(hours=10), most_bytes=1))
    handler.close()
    files = {path.name: path.read_bytes() for path in (tmp_path / "logs").iterdir()}
    texts = [gzip.decompress(content) if name.endswith(".gz") else content for name, content in files.items()]
    assert sorted(int(number) for text in texts for number in text.split()) == list(range(60))
    assert any(name.endswith(".gz") for name in files)


def test_a_compressed_file_keeps_times_and_rights(tmp_path: Path) -> None:
    path = write(tmp_path / "a.log", "text", NOW)
    path.chmod(0o600)
    compress(path)
    packed = tmp_path / "a.log.gz"
    assert packed.stat().st_mtime == NOW.timestamp()
    assert packed.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["a.log.gz"]


def test_a_full_disk_leaves_the_plain_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.log", "text", NOW)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        compress(path)
    assert [each.name for each in tmp_path.iterdir()] == ["a.log"]


def test_without_logs_there_is_nothing_to_do(tmp_path: Path) -> None:
    assert plan(tmp_path / "absent") == Turn((), (), ())
