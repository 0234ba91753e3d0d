"""What landed becomes rows, all of it once, whatever breaks in between."""

import shutil
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from audio_world import BROKEN, HOSTILE, SHOWN, digest, digests, settle, sound, write

from spotify_ai_assets.audio.intake import receiving
from spotify_ai_assets.audio.intake.landing import GivenAudio, LandedAudio
from spotify_ai_assets.audio.intake.receiving import Reception, Report
from spotify_ai_assets.audio.intake.sandbox import Pool, Refusal
from spotify_ai_assets.audio.studio import Studio
from spotify_ai_assets.contracts import shard_of
from spotify_ai_assets.errors import CommitConflictError
from spotify_ai_assets.resources import open_lake
from spotify_ai_assets.resources.lake import Lake, Origin
from spotify_ai_assets.tables import TABLES
from spotify_ai_assets.validation import require

pytestmark = pytest.mark.xdist_group("audio_world")

DAY = date(2026, 3, 2)
SHORT = 0.4


class Counting(Pool):
    """A pool that asks another one, counts what is measured, and may be too slow."""

    def __init__(self, pool: Pool) -> None:
        super().__init__(1)
        self._pool = pool
        self.measured: Counter[str] = Counter()
        self.is_too_slow = False

    def ask(self, task, path):
        if task == "analyse":
            self.measured[path.name] += 1
            if self.is_too_slow:
                return Refusal("too_slow", "it took too long")
        return self._pool.ask(task, path)


@dataclass
class Desk:
    """Where files are received."""

    folder: Path
    pool: Counting
    lake: Lake
    given: Path
    landing: Path
    day: date = DAY
    told: list = field(default_factory=list)

    @property
    def studio(self) -> Studio:
        studio = Studio(settle(self.folder), watch=lambda *told: self.told.append(told))
        studio.__dict__["pool"] = self.pool  # as the cached property keeps its own
        return studio

    def take(self, *paths: Path) -> Reception:
        return self._receive(GivenAudio(paths or [self.given]))

    def take_landed(self) -> Reception:
        return self._receive(LandedAudio(self.landing, time.time() + 60))

    def _receive(self, landing: GivenAudio | LandedAudio) -> Reception:
        reception = Reception(landing, self.studio, self.lake, self.day, Origin("run", "trace"))
        reception.receive()
        return reception

    def reports(self, *paths: Path) -> list[Report]:
        return self.take(*paths).landing.reports

    def rows(self, key: str):
        return self.lake.scan(key).collect()

    def table(self, content: str, name: str = "table.csv") -> Path:
        self.given.mkdir(exist_ok=True)
        (self.given / name).write_text(content)
        return self.given / name


@pytest.fixture
def desk(tmp_path, measuring) -> Desk:
    settings = settle(tmp_path / "data")
    (tmp_path / "given").mkdir()
    landing = settings.landing / "audio"
    landing.mkdir(parents=True)
    return Desk(settings.data, Counting(measuring), open_lake(settings, TABLES), tmp_path / "given", landing)


def snapshot(folder: Path) -> dict:
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}


def test_each_kind_of_table_fills_its_own_and_leaves_nothing_behind(desk):
    desk.table("file,label\na.wav,rock\nb.wav,folk\n", "labels.csv")
    desk.table("file,track_id\na.wav,x\n", "links.csv")
    desk.table("file,valence\na.wav,0.5\n", "perceived.csv")
    before = snapshot(desk.given)
    received = desk.take()
    assert {each.file: each.format for each in received.landing.reports} == {
        "labels.csv": "audio/labels",
        "links.csv": "audio/given_links",
        "perceived.csv": "audio/perceptual_labels",
    }
    assert received.counts() == {"files": 3, "new": 0, "known": 0, "measured": 0, "tables": 3, "rejected": 0}
    assert all(each.is_new and each.rule is None for each in received.landing.reports)
    for key in ("audio/labels", "audio/given_links", "audio/perceptual_labels"):
        require(TABLES[key], desk.rows(key))
        assert received.touched[key] == {None}
    assert desk.rows("audio/rejected").is_empty() and not desk.pool.measured
    assert not [path for path in (desk.folder / "quarantine").rglob("*") if path.is_file()]
    assert snapshot(desk.given) == before


def test_a_later_table_replaces_its_own_rows_alone(desk):
    desk.take(desk.table("file,label\na.wav,rock\nb.wav,folk\n"))
    desk.take(desk.table("file,label\nb.wav,jazz\n"))
    assert dict(desk.rows("audio/labels").select("file", "label").iter_rows()) == {"a.wav": "rock", "b.wav": "jazz"}
    assert not desk.reports(desk.table("file,label\nb.wav,jazz\n"))[0].is_new


def test_a_damaged_table_is_set_aside_whole_and_the_others_are_taken(desk):
    desk.take(desk.table("file,label\na.wav,rock\n"))
    bad = desk.table("file,label\na.wav,folk\nb.wav,jazz\nc.wav\n", "bad.csv")
    desk.table("file,track_id\na.wav,x\n", "links.csv")
    received = desk.take()
    report = next(each for each in received.landing.reports if each.file == "bad.csv")
    assert (report.format, report.rule, report.is_new) == (None, "ragged_row", True) and "(row 3)" in report.reason
    assert received.counts()["rejected"] == 1 and received.counts()["tables"] == 2
    assert desk.rows("audio/labels").select("file", "label").rows() == [("a.wav", "rock")]
    assert desk.rows("audio/given_links").height == 1
    rejected = desk.rows("audio/rejected")
    require(TABLES["audio/rejected"], rejected)
    assert rejected.select("file_id", "rule", "bytes").rows() == [(digest(bad), "ragged_row", bad.stat().st_size)]
    assert (desk.folder / "quarantine/audio" / digest(bad)).read_bytes() == bad.read_bytes()
    again = desk.reports(bad)[0]
    assert again.rule == "ragged_row" and not again.is_new
    assert desk.rows("audio/rejected").height == 1


def test_a_table_that_breaks_its_contract_is_refused_and_read_once_it_does_not(desk, monkeypatch):
    path = desk.table("file,label\na.wav,rock\n")
    read = receiving.read_table
    monkeypatch.setattr(receiving, "read_table", lambda *given: read(*given).with_columns(label=None).cast({"label": str}))
    assert desk.reports()[0].rule == "contract"
    assert desk.rows("audio/labels").is_empty() and desk.rows("audio/rejected").height == 1
    monkeypatch.setattr(receiving, "read_table", read)
    assert desk.reports()[0].format == "audio/labels"
    assert desk.rows("audio/rejected").is_empty()
    assert not (desk.folder / "quarantine/audio" / digest(path)).exists()


def test_a_table_that_is_still_being_written_stays_and_stops_nobody(desk, monkeypatch):
    from spotify_ai_assets.audio.intake.store import Store, UnsettledFileError

    growing, whole = desk.table("file,label\na.wav,rock\n", "a.csv"), desk.table("file,track_id\na.wav,x\n", "b.csv")
    keep = Store.keep

    def interrupted(store, path):
        if path == growing:
            raise UnsettledFileError("a file changed while it was read")
        return keep(store, path)

    monkeypatch.setattr(Store, "keep", interrupted)
    assert {each.file: each.rule for each in desk.reports()} == {"a.csv": "unsettled", "b.csv": None}
    assert growing.exists() and whole.exists() and desk.rows("audio/rejected").is_empty()


def test_files_are_taken_once_and_the_second_time_nothing_changes(desk):
    one = write(desk.given / "one.wav", sound("hiss", 1, SHORT))
    shutil.copy(one, desk.given / "the same again.wav")
    write(desk.given / "deep/two.mp3", sound("song", 2, SHORT), format="MP3")
    write(desk.given / HOSTILE, sound("pulse", 3, SHORT))
    for name, content in BROKEN.items():
        (desk.given / name).write_bytes(content)
    before = snapshot(desk.given)
    first = desk.take()
    assert first.counts() == {"files": 6, "new": 3, "known": 1, "measured": 5, "tables": 0, "rejected": 2}
    files = desk.rows("audio/files")
    require(TABLES["audio/files"], files)
    assert files.height == 3 and set(desk.pool.measured.values()) == {1}
    assert all(shard_of(row["file_id"]) == row["shard"] and row["landed_on"] == DAY for row in files.iter_rows(named=True))
    assert files.filter(file_id=digest(desk.given / HOSTILE))["name"].item() == SHOWN
    assert all(each.file.isprintable() for each in first.landing.reports)
    known = digests(desk.lake)
    desk.day = date(2026, 4, 1)
    second = desk.take()
    assert second.counts() == {"files": 6, "new": 0, "known": 4, "measured": 0, "tables": 0, "rejected": 2}
    assert not any(each.is_new for each in second.landing.reports)
    assert second.touched == {"audio/files": set()} and digests(desk.lake) == known
    assert sum(desk.pool.measured.values()) == 5
    assert snapshot(desk.given) == before
    assert ("files of audio", 6, 6) in desk.told


def test_a_file_keeps_the_name_and_the_day_of_its_first_landing(desk):
    one = write(desk.given / "first.wav", sound("hiss", 1, SHORT))
    desk.take()
    desk.day = date(2026, 4, 1)
    one.rename(desk.given / "second.wav")
    desk.take()
    assert desk.rows("audio/files").select("name", "landed_on").rows() == [("first.wav", DAY)]


def test_a_broken_file_is_rejected_and_set_aside(desk):
    path = desk.given / "broken.flac"
    path.write_bytes(BROKEN["broken.flac"])
    received = desk.take()
    row = desk.rows("audio/rejected").row(0, named=True)
    require(TABLES["audio/rejected"], desk.rows("audio/rejected"))
    assert (row["file_id"], row["rule"], row["landed_on"]) == (digest(path), "no_audio", DAY)
    assert row["reason"] and "broken.flac" not in row["reason"]
    assert received.touched == {"audio/rejected": {None}}
    assert (desk.folder / "quarantine/audio" / digest(path)).read_bytes() == path.read_bytes()
    assert not (desk.folder / "artifacts/audio" / digest(path)[:2] / digest(path)).exists()


def test_a_file_that_was_rejected_for_the_machine_is_taken_when_it_comes_again(desk):
    path = write(desk.given / "one.wav", sound("hiss", 1, SHORT))
    desk.pool.is_too_slow = True
    assert desk.reports()[0].rule == "too_slow"
    assert desk.rows("audio/rejected").height == 1 and desk.rows("audio/files").is_empty()
    desk.pool.is_too_slow = False
    received = desk.take()
    assert received.landing.reports[0].rule is None and received.touched["audio/rejected"] == {None}
    assert desk.rows("audio/rejected").is_empty() and desk.rows("audio/files")["file_id"].to_list() == [digest(path)]
    assert desk.studio.store.has(digest(path)) and not desk.studio.store.rejected(digest(path)).exists()


def test_the_spool_is_emptied_behind_the_commits_and_not_before(desk, monkeypatch):
    monkeypatch.setattr(receiving, "COMMIT_FILES", 2)
    paths = [write(desk.landing / "deep" / f"{number}.wav", sound("hiss", number, SHORT)) for number in range(3)]
    (desk.landing / "broken.flac").write_bytes(BROKEN["broken.flac"])
    update, commits = desk.lake.update, []

    def fail_later(key, *given, **named):
        commits.append(key)
        if commits.count("audio/files") == 2:
            raise CommitConflictError("somebody else was faster")
        return update(key, *given, **named)

    monkeypatch.setattr(desk.lake, "update", fail_later)
    with pytest.raises(CommitConflictError):
        desk.take_landed()
    taken = set(desk.rows("audio/files")["file_id"]) | set(desk.rows("audio/rejected")["file_id"])
    left = [path for path in desk.landing.rglob("*") if path.is_file()]
    assert len(left) == 2 and len(taken) == 2 and not taken & {digest(path) for path in left}
    monkeypatch.setattr(desk.lake, "update", update)
    assert desk.take_landed().counts()["new"] >= 1
    assert desk.rows("audio/files").height == 3 and desk.rows("audio/rejected").height == 1
    assert set(desk.pool.measured.values()) == {1}
    assert list(desk.landing.iterdir()) == [] and not paths[0].parent.exists()


def test_tables_leave_the_spool_whether_they_are_taken_or_refused(desk):
    (desk.landing / "good.csv").write_text("file,label\na.wav,rock\n")
    (desk.landing / "bad.csv").write_text("file,label\na.wav\n")
    (desk.landing / "notes.txt").write_text("no audio at all")
    assert {each.file: each.rule for each in desk.take_landed().landing.reports} == {
        "good.csv": None,
        "bad.csv": "ragged_row",
        "notes.txt": "not_audio",
    }
    assert list(desk.landing.iterdir()) == []
    assert len(list((desk.folder / "quarantine/audio").iterdir())) == 2


def test_what_a_killed_run_left_half_copied_is_swept(desk):
    part = desk.folder / "artifacts/audio/.x.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"half")
    desk.take()
    assert not part.exists()


def test_a_file_in_pieces_is_measured_as_far_as_it_goes(desk):
    whole = write(desk.given / "whole.wav", np.tile(sound("song", 1, SHORT), 3))
    (desk.given / "half.wav").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    desk.take()
    found = {row["name"]: row for row in desk.rows("audio/files").iter_rows(named=True)}
    assert found["half.wav"]["is_partial"] and not found["whole.wav"]["is_partial"]
    assert found["half.wav"]["duration_ms"] < found["whole.wav"]["duration_ms"]
