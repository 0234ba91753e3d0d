"""No version that may have learnt from a person stays, also where nothing is out of date any more."""

import shutil
from datetime import UTC, datetime, timedelta

import pytest

from spotify_ai_assets.maintenance.erasure import rebuilding
from spotify_ai_assets.maintenance.erasure.rebuilding import _renew_recommender, side_settings
from spotify_ai_assets.maintenance.erasure.targets import LEARNT
from spotify_ai_assets.recommendations.manifests import MODEL, RELEASE, index_name
from spotify_ai_assets.resources.artifacts import Artifacts, Pointers, open_artifacts
from spotify_ai_assets.resources.lake import Lake
from spotify_ai_assets.settings import Settings

SINCE = datetime(2026, 3, 20, 12, tzinfo=UTC)
INDEX = index_name("listener")


class DiedError(Exception):
    """A process that is gone."""


def publish(settings: Settings, name: str, at: datetime, **facts: str) -> str:
    folder = open_artifacts(settings)
    return Artifacts(folder.place, folder._locks, lambda: at).publish(name, {"a": f"{name} {at}".encode()}, facts).version


def point(settings: Settings, name: str, alias: str, version: str, *former: str) -> None:
    open_artifacts(settings).change(name, lambda now: (Pointers({alias: version}, {alias: list(former)}, now.history), {"event": "x"}))


def versions(settings: Settings) -> dict[str, set[str]]:
    artifacts = open_artifacts(settings)
    return {name: found for name in LEARNT if (found := {each.version for each in artifacts.versions(name)})}


def renew(settings: Settings, lake: Lake) -> tuple[int, bool]:
    return _renew_recommender(None, lake, settings, lambda what: None, SINCE)  # pyright: ignore[reportArgumentType]: not reached


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """Nothing is out of date; who trains is noted, and makes a version of the model."""
    calls: list[Settings] = []

    def train(instance, lake, settings, side) -> bool:
        calls.append(side)
        point(side, MODEL, "champion", publish(side, MODEL, SINCE + timedelta(hours=1)))
        return True

    monkeypatch.setattr(rebuilding, "plan", lambda *_: [])
    monkeypatch.setattr(rebuilding, "_train", train)
    return calls


def serve(settings: Settings, at: datetime) -> dict[str, set[str]]:
    """A release with what it is made of, which no alias of their own means; its versions."""
    model, index = publish(settings, MODEL, at), publish(settings, INDEX, at)
    release = publish(settings, RELEASE, at, model=model, listener_index=index)
    point(settings, MODEL, "champion", model)
    point(settings, RELEASE, "current", release)
    return {MODEL: {model}, INDEX: {index}, RELEASE: {release}}


def test_what_nothing_means_goes_and_what_serves_and_never_knew_them_stays(settings: Settings, lake: Lake, trained):
    for name in (MODEL, INDEX, RELEASE, "recommendations/recipe"):
        publish(settings, name, SINCE - timedelta(days=1))
    wanted = serve(settings, SINCE + timedelta(minutes=1))
    assert renew(settings, lake) == (4, False) and versions(settings) == wanted and not trained
    assert renew(settings, lake) == (0, False) and versions(settings) == wanted


def test_what_was_gone_back_to_is_older_than_the_rewriting_and_is_trained_anew(settings: Settings, lake: Lake, trained):
    serve(settings, SINCE - timedelta(minutes=1))
    publish(settings, MODEL, SINCE + timedelta(minutes=1))
    assert renew(settings, lake) == (4, True) and len(trained) == 1
    assert [len(found) for found in versions(settings).values()] == [1] and not side_settings(settings).data.exists()


def test_who_dies_while_the_place_beside_is_emptied_trains_anew_afterwards(settings: Settings, lake: Lake, trained, monkeypatch):
    serve(settings, SINCE + timedelta(minutes=1))
    side = side_settings(settings)
    (side.data / "artifacts").mkdir(parents=True)
    remove = shutil.rmtree

    def remove_and_die(path, **options) -> None:
        remove(path, **options)
        raise DiedError

    monkeypatch.setattr(rebuilding.shutil, "rmtree", remove_and_die)
    with pytest.raises(DiedError):
        renew(settings, lake)
    monkeypatch.undo()
    monkeypatch.setattr(rebuilding, "_train", lambda *_: trained.append(side) or False)
    assert side.data.exists() and renew(settings, lake)[1] is False and trained == [side] and versions(settings) == {}
