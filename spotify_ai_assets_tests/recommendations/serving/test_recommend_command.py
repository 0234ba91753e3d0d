"""``spotify-ai recommend``, ``similar``, ``block`` and ``unblock`` as a person or a script calls them."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import serving_world as world
import typer
from typer.testing import CliRunner

from spotify_ai_assets import recommend_cli
from spotify_ai_assets.recommendations.contracts import BLOCKS
from spotify_ai_assets.resources import open_lake
from spotify_ai_assets.resources.identities import Vault
from spotify_ai_assets.settings import Settings
from spotify_ai_assets.terminal import failing_in_words

Call = Callable[..., Any]


@pytest.fixture
def call(served_settings: Settings, monkeypatch: pytest.MonkeyPatch, instance) -> Call:
    """Calls the command line on the release of the small world, in which ann is the first listener."""
    monkeypatch.setenv("SPOTIFY_AI_DATA", str(served_settings.data))
    Vault(served_settings.vault_url, lambda user: world.listener(0)).swap(["ann"])

    @contextmanager
    def forgetful() -> Iterator[tuple]:
        with failing_in_words():
            yield instance, open_lake(served_settings, {BLOCKS.key: BLOCKS})

    monkeypatch.setattr(recommend_cli, "open_platform", forgetful)  # the instance on disk takes seconds
    app = typer.Typer()
    recommend_cli.add_commands(app)
    return lambda *arguments: CliRunner(env={"COLUMNS": "240", "NO_COLOR": "1"}).invoke(app, list(arguments))


def document(result: Any) -> dict:
    assert result.exit_code == 0, result.output[-2000:]
    return json.loads(result.stdout)


def test_a_listener_is_recommended_tracks_with_reasons_in_three_languages(call: Call) -> None:
    found = document(call("recommend", "--listener", "ann", "--shelf", "discovery", "--k", "6", "--explain", "--json"))
    assert (found["shelf"], found["is_known"], len(found["tracks"])) == ("discovery", True, 6)
    assert [each["rank"] for each in found["tracks"]] == [1, 2, 3, 4, 5, 6]
    for each in found["tracks"]:
        assert each["reason"]["kind"] in ("plays", "content", "popularity")
        assert set(each["reason"]["sentences"]) == {"en", "de", "fr"} and 0 < sum(each["reason"]["shares"]) <= 1
    table = call("recommend", "--listener", "ann", "--shelf", "discovery", "--k", "6", "--explain")
    assert table.exit_code == 0 and found["tracks"][0]["name"] in table.output and "Because you played" in table.output
    assert "Why" not in call("recommend", "--listener", "ann").output and world.listener(0) not in table.output


def test_somebody_unknown_is_recommended_what_is_popular_where_they_are(call: Call) -> None:
    german, french = (document(call("recommend", "--listener", "zoe", "--country", each, "--json")) for each in ("DE", "FR"))
    assert not german["is_known"] and german["tracks"][0]["reason"] is None
    assert [each["track_id"] for each in german["tracks"]] != [each["track_id"] for each in french["tracks"]]
    assert "Nothing was heard of this listener yet" in call("recommend", "--listener", "zoe").output


def test_explicit_lyrics_can_be_left_out(call: Call) -> None:
    arguments = ("recommend", "--listener", "ann", "--shelf", "discovery", "--json")
    assert any(each["track_id"].endswith("3") for each in document(call(*arguments))["tracks"])
    assert not any(each["track_id"].endswith("3") for each in document(call(*arguments, "--no-explicit"))["tracks"])


def test_what_is_like_a_track_or_an_artist_is_found(call: Call) -> None:
    tracks = document(call("similar", world.track(1, 0, 0), "--count", "4", "--json"))["similar"]
    assert len(tracks) == 4 and {each["artist_id"][7] for each in tracks} == {"1"}
    assert tracks[0]["reason"]["sentences"]["en"] == "Also played by people who play “Song name:100”"
    artists = document(call("similar", world.artist_id(1, 0), "--count", "4", "--json"))["similar"]
    assert len(artists) == 4 and world.artist_id(1, 0) not in {each["artist_id"] for each in artists}
    assert artists[0]["name"] in call("similar", world.artist_id(1, 0)).output
    assert tracks[0]["track_id"] in call("similar", world.track(1, 0, 0)).output
    missing = call("similar", "name:none")
    assert missing.exit_code == 1 and "MissingInputError" in missing.output


def test_a_block_holds_until_it_is_taken_back(call: Call) -> None:
    arguments = ("recommend", "--listener", "ann", "--shelf", "discovery", "--json")
    first = document(call(*arguments))["tracks"][0]["track_id"]
    assert document(call("block", first, "--listener", "ann", "--json"))["is_changed"]
    assert first not in {each["track_id"] for each in document(call(*arguments))["tracks"]}
    assert "so already" in call("block", first, "--listener", "ann").output
    assert "may be recommended again" in call("unblock", first, "--listener", "ann").output
    assert document(call(*arguments))["tracks"][0]["track_id"] == first
    told = document(call("block", world.artist_id(0, 0), "--country", "FR", "--json"))
    assert told == {"item": world.artist_id(0, 0), "country": "FR", "is_blocked": True, "is_changed": True}
    assert "recommended no more" in call("block", first).output
    for undone in (("unblock", world.artist_id(0, 0), "--country", "FR"), ("unblock", first)):
        assert call(*undone).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (("recommend", "--listener", "ann", "--shelf", "bottom"), 2),
        (("recommend", "--listener", "ann", "--country", "Germany"), 2),
        (("recommend",), 2),
        (("block", "name:000", "--listener", "nobody"), 1),
        (("block", "name:000", "--country", "de"), 2),
    ],
)
def test_what_cannot_be_is_refused(call: Call, arguments: tuple[str, ...], status: int) -> None:
    assert call(*arguments).exit_code == status


def test_without_a_release_the_command_says_so(call: Call, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPOTIFY_AI_DATA", str(tmp_path))
    result = call("recommend", "--listener", "ann")
    assert result.exit_code == 1 and "UnknownReleaseError" in result.output and "Traceback" not in result.output
