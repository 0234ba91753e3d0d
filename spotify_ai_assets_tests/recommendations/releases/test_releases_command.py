import json

import pytest
from release_world import FAILED, Releases, fitted_model, publish, track
from typer.testing import CliRunner

from spotify_ai_assets.recommendations.releases import MODEL, RELEASE, index_name, open_releases
from spotify_ai_assets.releases_cli import releases as command
from spotify_ai_assets.settings import Settings
from spotify_ai_assets.terminal import out


@pytest.fixture
def releases(tmp_path, monkeypatch) -> Releases:
    monkeypatch.setenv("SPOTIFY_AI_DATA", str(tmp_path))
    monkeypatch.setattr(out, "_width", 200)
    return open_releases(Settings.from_environment())


def ask(*arguments, status=0):
    done = CliRunner().invoke(command, [*arguments, "--json"])
    assert done.exit_code == status, done.output
    return json.loads(done.stdout) if not status else done.output


def read(*arguments):
    done = CliRunner().invoke(command, list(arguments))
    assert done.exit_code == 0, done.output
    return done.stdout


def test_releases_are_listed_promoted_and_rolled_back(releases):
    first, second = publish(releases, 0), publish(releases, 1, gate=FAILED)
    assert ask("promote", first[:6]) == {"current": first}
    assert "does not serve: better than popularity" in ask("promote", second, status=1)
    assert ask("promote", second, "--force") == {"current": second}
    listed = ask("list", "--history")
    assert {each["version"]: (each["is_current"], each["is_former"]) for each in listed["releases"]} == {
        first: (False, True),
        second: (True, False),
    }
    assert [each["event"] for each in listed["history"]] == ["flipped", "refused", "flipped"]
    assert ask("show")["version"] == second and ask("show", first)["basis"] == listed["releases"][0]["basis"]
    assert ask("rollback") == {"current": first}
    assert "before this one" in ask("rollback", status=1)


def test_tables_say_what_serves_and_what_it_pins(releases):
    assert "no release yet" in read("list") and "no release yet" in read("list", "--history")
    first = publish(releases, 0)
    assert f"Release {first} serves." in read("promote", first)
    table, shown, history = read("list"), read("show"), read("list", "--history")
    assert first in table and "serves" in table and "passed" in table and "flipped" in history
    assert all(version in shown for version in (first, *releases.describe(first).pins.values()))


@pytest.mark.parametrize("release", ["", "0" * 16, "f"])
def test_what_is_not_there_is_said_in_words(releases, release):
    assert "UnknownReleaseError: there is no such release" in ask("show", release, status=1)


def test_tracks_are_forgotten_only_when_that_is_confirmed(releases):
    version = publish(releases, 0, fitted_model)
    releases.flip(version)
    planned = ask("forget", track(3))["versions"]
    assert planned[RELEASE] == [version] and set(planned) == {MODEL, RELEASE, index_name("track"), index_name("listener")}
    assert releases.current() == version and "would be written anew" in read("forget", track(3))
    done = ask("forget", track(3), "--yes")["versions"]
    assert done[RELEASE] == [version] and releases.current() != version
    assert ask("forget", track(3)) == {"versions": {}} and "No version holds them." in read("forget", track(3))
