"""``spotify-ai import`` of audio, ``audio`` and ``models`` as a person or a script calls them."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import audio_world
import pytest
import yaml
from audio_world import BROKEN, HOSTILE, SHOWN, World, quick_recipes, sound, write
from typer.testing import CliRunner

from spotify_ai_assets import audio_cli, cli, importing
from spotify_ai_assets.audio.contracts import SOUND_MODEL
from spotify_ai_assets.resources import open_lake
from spotify_ai_assets.settings import ROOT, Settings
from spotify_ai_assets.tables import TABLES

pytestmark = pytest.mark.xdist_group("audio_world")

FIELDS = {"file", "format", "is_new", "is_measured", "rule", "reason"}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home for instances, each of its own data folder."""
    folder = tmp_path_factory.mktemp("home")
    configuration = yaml.safe_load((ROOT / "dagster.yaml").read_text())
    del configuration["python_logs"]  # nothing closes the log file before its process ends
    (folder / "dagster.yaml").write_text(yaml.safe_dump(configuration))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", str(folder))
        patch.setenv("SPOTIFY_AI_PSEUDONYM_SEED", "test")
        patch.setenv("SPOTIFY_AI_MODEL_SIZE", "demo")
        patch.setenv("SPOTIFY_AI_AUDIO_WORKERS", "1")
        yield folder


@pytest.fixture
def command(home, tmp_path, monkeypatch):
    """Calls the command line on a data folder of the test's own."""
    monkeypatch.setenv("SPOTIFY_AI_DATA", str(tmp_path / "data"))
    return call


def call(*arguments: str | Path) -> Any:
    return CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1"}).invoke(cli.app, [str(each) for each in arguments])


def document(result: Any) -> dict:
    assert result.exit_code == 0, result.output[-2000:]
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def served(home, tmp_path_factory) -> Iterator[World]:
    """A copy of the trained world whose data folder the commands see."""
    world = audio_world.trained(audio_world.shared_folder(tmp_path_factory))
    copy = world.copy(tmp_path_factory.mktemp("served") / "data", world.instance)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPOTIFY_AI_DATA", str(copy.settings.data))
        yield copy


def test_audio_and_listens_are_imported_at_once(command, tmp_path, monkeypatch, instance):
    @contextmanager
    def forgetful() -> Iterator[tuple]:
        yield instance, open_lake(Settings.from_environment(), TABLES)

    monkeypatch.setattr(cli, "open_platform", forgetful)  # the instance on disk takes ten seconds more
    folder = tmp_path / "in"
    write(folder / HOSTILE, sound("hiss", 1, 0.4))
    (folder / "broken.flac").write_bytes(BROKEN["broken.flac"])
    (folder / "labels.csv").write_text("file,label\na.wav,rock\n")
    listen = {"user_id": "x", "started_at": "2026-03-02T08:00:00Z", "track_name": "Song", "artist_name": "Band", "played_ms": 1000}
    (folder / "listens.jsonl").write_text(json.dumps(listen) + "\n")
    found = document(command("import", folder, "--json"))
    assert [(each["format"], each["stored"]) for each in found["files"]] == [("jsonl", 1)] or found["files"][0]["stored"] == 1
    assert all(each.keys() == FIELDS for each in found["audio"])
    told = {each["file"]: (each["format"], each["is_new"], each["is_measured"], each["rule"]) for each in found["audio"]}
    assert told == {
        SHOWN: ("wav", True, True, None),
        "broken.flac": (None, True, True, "no_audio"),
        "labels.csv": ("audio/labels", True, False, None),
    }
    assert command("audio", "similar", "00").exit_code == 1


def test_what_became_of_audio_is_told_without_speaking_to_the_terminal():
    from spotify_ai_assets.audio.intake.receiving import Report

    reports = [
        Report("\x1b[31m\u202ename.wav", "wav", is_new=True, is_measured=True),
        Report("b.flac", None, rule="no_audio", reason="[x]"),
    ]
    with audio_cli.out.capture() as captured:
        audio_cli.print_audio(reports)
    told = captured.get()
    assert "\x1b[31m" not in told and "\u202e" not in told and "no_audio: [x]" in told and "[31mname.wav" in told


def test_only_what_was_named_is_imported(tmp_path, monkeypatch):
    sound_file = write(tmp_path / "in" / "a.wav", sound("hiss", 1, 0.2))
    other = tmp_path / "in" / "b.txt"
    other.write_text("no data")
    started: list[tuple[str, list[Path]]] = []
    monkeypatch.setattr(importing, "run_import", lambda *given: started.append(("listens", given[-1].files())))
    monkeypatch.setattr(importing, "run_audio_intake", lambda *given: started.append(("audio", given[-1].files())) or [])
    for paths in ([sound_file.parent], [sound_file], [other], []):
        importing.import_files(None, None, audio_world.settle(tmp_path), paths, print)
    assert started == [("listens", [other]), ("audio", [sound_file]), ("audio", [sound_file]), ("listens", [other]), ("listens", [])]


def test_inspecting_tells_what_became_of_files_and_keeps_nothing(command, tmp_path):
    folder = tmp_path / "in"
    write(folder / "good.wav", sound("hiss", 1, 0.3))
    (folder / "broken.flac").write_bytes(BROKEN["broken.flac"])
    rows = {each["path"]: each for each in document(command("audio", "inspect", folder, "--json"))["files"]}
    assert rows["good.wav"]["outcome"] == "decoded" and rows["good.wav"]["seconds"] == pytest.approx(0.3, abs=0.01)
    assert (rows["broken.flac"]["outcome"], rows["broken.flac"]["rule"]) == ("refused", "no_audio")
    (folder / "manifest.csv").write_text("path,kind\ngood.wav,valid\nbroken.flac,valid\n")
    result = command("audio", "inspect", folder)
    assert result.exit_code == 1 and "no_audio" in result.output and "As expected" in result.output
    assert not (tmp_path / "data" / "artifacts").exists()
    assert command("audio", "inspect", tmp_path / "absent").exit_code == 2


def test_similar_files_are_found_by_digest_and_by_track(served):
    file_id = served.id_of("pulse bob 1.wav")
    found = document(call("audio", "similar", file_id[:16], "--count", "3", "--json"))["similar"]
    assert len(found) == 3 and file_id not in {each["file_id"] for each in found}
    assert found[0].keys() == {"file_id", "artist", "title", "track_id", "cosine"}
    assert found[0]["cosine"] >= found[1]["cosine"] >= found[2]["cosine"]
    assert document(call("audio", "similar", "track:bob", "--count", "3", "--json"))["similar"] == found
    table = call("audio", "similar", file_id[:16])
    assert table.exit_code == 0 and found[0]["file_id"][:16] in table.output
    missing = call("audio", "similar", "zz")
    assert missing.exit_code == 1 and "Traceback" not in missing.output


def test_models_are_listed_trained_rolled_back_and_promoted(served):
    listed = {each["model"]: each["versions"] for each in document(call("models", "list", "--json"))["models"]}
    [first] = listed[SOUND_MODEL.key]
    assert first["aliases"] == ["champion"] and first["is_demo"] and first["gate"]["passed"]
    assert {"accuracy", "clips"} <= {each["name"] for each in first["metrics"]}
    assert first["version"] in call("models", "list").output
    refused = call("models", "rollback", SOUND_MODEL.key)
    assert refused.exit_code == 1 and "no champion before" in refused.output
    labels = served.rows("audio/labels")
    served.lake.write("audio/labels", labels.with_columns(artist=None).cast(labels.schema))
    with quick_recipes():
        [trained] = document(call("models", "train", SOUND_MODEL.key, "--json"))["models"]
    champion = next(each["version"] for each in trained["versions"] if "champion" in each["aliases"])
    assert champion != first["version"] and len(trained["versions"]) == 2
    back = document(call("models", "rollback", SOUND_MODEL.key, "--json"))
    assert (back["model"], back["champion"]) == (SOUND_MODEL.key, first["version"]) and back["run"]
    forth = document(call("models", "promote", SOUND_MODEL.key, champion, "--json"))
    assert forth["champion"] == champion
    assert set(served.rows(SOUND_MODEL.key)["model_version"]) == {champion}
    events = [each["event"] for each in document(call("models", "list", SOUND_MODEL.key, "--history", "--json"))["models"][0]["history"]]
    assert events == ["added", "promoted", "added", "promoted", "rolled back", "promoted"]
    assert call("models", "train", "no/such").exit_code == 1
    assert call("models", "promote", "no/such").exit_code == 1
