import os

import pytest
from audio_files import noise, write_wav

from spotify_ai_assets.audio.intake.landing import QUIET_SECONDS, GivenAudio, LandedAudio, split_audio, what_landed
from spotify_ai_assets.audio.intake.taking import Taken

NOW = 1_800_000_000.0


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "landing/audio"


def land(path, age=60.0, seed=0):
    write_wav(path, noise(seed, seconds=0.1))
    os.utime(path, (NOW - age, NOW - age))
    return path


def taken(path, file_id: str | None = "a" * 64, **more) -> Taken:
    return Taken(path, path.name, file_id, **more)


def test_files_at_any_depth_are_listed_without_hidden_unfinished_and_unsettled_ones(folder):
    names = ("a.wav", "deep/er/b", "c.wav.part", "d.tmp", ".hidden/e.wav", ".f.wav")
    paths = [land(folder / name) for name in names]
    fresh = land(folder / "fresh.wav", age=QUIET_SECONDS - 1)
    land(folder / "clock.wav", age=-3600)
    (folder / "link.wav").symlink_to(paths[0])
    names = [str(path.relative_to(folder)) for path in LandedAudio(folder, NOW).files()]
    assert names == ["a.wav", "clock.wav", "deep/er/b"]
    assert fresh in LandedAudio(folder, NOW + 60).files()
    assert LandedAudio(folder / "absent", NOW).files() == []


def test_a_taken_and_a_rejected_file_leave_the_spool_with_their_folders(folder):
    good, bad = land(folder / "a/b/good.wav"), land(folder / "a/c/bad.wav", seed=1)
    landed = LandedAudio(folder, NOW)
    landed.files()
    landed.done(taken(good))
    landed.done(taken(bad, rule="no_audio"))
    assert list(folder.rglob("*")) == [] and folder.exists()


def test_what_was_not_kept_or_has_changed_since_stays(folder):
    changed, kept, unlisted = land(folder / "a.wav"), land(folder / "b.wav"), folder / "c.wav"
    landed = LandedAudio(folder, NOW)
    landed.files()
    land(unlisted)
    changed.write_bytes(b"something else")
    for path, file_id in ((changed, "a" * 64), (kept, None), (unlisted, "c" * 64)):
        landed.done(taken(path, file_id))
    assert sorted(folder.iterdir()) == [changed, kept, unlisted]


def test_the_digest_of_what_landed_changes_with_the_files_and_names_none(folder):
    assert what_landed(folder, NOW) is None
    fresh = land(folder / "fresh.wav", age=1)
    assert what_landed(folder, NOW) is None
    settled = what_landed(folder, NOW + 60)
    assert settled == what_landed(folder, NOW + 99) and len(settled) == 64 and "fresh" not in settled
    land(folder / "another.wav")
    assert what_landed(folder, NOW + 60) != settled
    fresh.unlink()
    (folder / "another.wav").unlink()
    assert what_landed(folder, NOW + 60) is None


def test_files_that_somebody_named_are_theirs(tmp_path):
    path = land(tmp_path / "in/a.wav")
    given = GivenAudio([tmp_path / "in", tmp_path / "absent"])
    assert given.files() == [path, tmp_path / "absent"]
    given.done(taken(path))
    assert path.exists()


def test_audio_and_all_else_are_told_apart_by_content(tmp_path):
    sound = land(tmp_path / "in/listens.json")
    listens = tmp_path / "in/song.mp3"
    listens.write_text("[]")
    assert split_audio([tmp_path / "in", tmp_path / "absent"]) == ([sound], [listens, tmp_path / "absent"])
