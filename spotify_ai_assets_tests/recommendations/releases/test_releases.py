import json
import time

import numpy as np
import polars as pl
import pytest
from release_world import COLD, FAILED, PASSED, TRACKS, moment_of, open_at, publish, tabulate, track, unit

from spotify_ai_assets.errors import ContractError
from spotify_ai_assets.recommendations.indices.vectors import VectorIndex
from spotify_ai_assets.recommendations.releases import (
    ITEMS,
    MODEL,
    RELEASE,
    Basis,
    MismatchedReleaseError,
    Release,
    UnknownReleaseError,
    index_name,
    items_digest,
    keep_index,
    pack_items,
)
from spotify_ai_assets.resources.artifacts import ArtifactError
from spotify_ai_assets.training.errors import GateFailedError


@pytest.fixture
def releases(tmp_path):
    return open_at(tmp_path)


def test_a_release_is_read_as_it_was_published(releases):
    version = publish(releases, 3)
    opened = releases.open(version)
    assert (opened.version, moment_of(opened)) == (version, 3) and opened.release == releases.describe(version)
    assert opened.items["track_id"].to_list() == [track(number) for number in range(TRACKS + COLD)] and not opened.items["is_removed"].any()
    assert len(opened.tracks) == TRACKS + COLD and len(opened.artists) == 8 and len(opened.listeners) == 30
    assert Release.from_json(json.loads(json.dumps(opened.release.as_json()))) == opened.release
    assert publish(releases, 3) == version


def test_nothing_serves_before_the_first_flip_and_nothing_can_be_gone_back_to(releases):
    version = publish(releases, 0)
    assert releases.current() is None
    with pytest.raises(UnknownReleaseError, match="no release serves"):
        releases.open_current()
    releases.flip(version)
    with pytest.raises(UnknownReleaseError, match="before this one"):
        releases.rollback()
    assert releases.current() == version


def test_flips_and_rollbacks_move_one_pointer(releases):
    first, second, third = (publish(releases, moment) for moment in range(3))
    for version in (first, second, second, third):
        releases.flip(version, origin={"dagster_run_id": "r"})
    assert releases.current() == third == releases.open_current().version
    assert [(each.is_current, each.is_former) for each in releases.kept()] == [(False, True), (False, True), (True, False)]
    assert (releases.rollback(), releases.rollback()) == (second, first) and releases.current() == first
    told = [(each["event"], each["version"], each["before"]) for each in releases.history()]
    assert told == [
        ("flipped", first, None),
        ("flipped", second, first),
        ("flipped", third, second),
        ("rolled back", second, third),
        ("rolled back", first, second),
    ]


@pytest.mark.parametrize(("gate", "why"), [(FAILED, "better than popularity"), (None, "no gate has judged it")])
def test_what_its_gate_does_not_let_through_serves_only_by_force(releases, gate, why):
    good, bad = publish(releases, 0), publish(releases, 1, gate=gate)
    releases.flip(good)
    with pytest.raises(GateFailedError, match=why):
        releases.flip(bad)
    assert releases.current() == good and releases.history()[-1]["event"] == "refused"
    releases.flip(bad, force=True)
    assert releases.current() == bad and releases.history()[-1]["is_forced"]
    assert releases.rollback() == good == releases.current()


def rebuilt(releases, noun, **changed):
    """An index of a noun that was made from something else."""
    release = releases.describe(publish(releases, 0))
    basis = Basis(**{**{name: getattr(release.basis, name) for name in ("model", "items", "encoder", "extractor")}, **changed})
    return release, keep_index(releases.artifacts, noun, VectorIndex.build(["a"], unit(0, 1)), basis)


@pytest.mark.parametrize("what", ["model", "items", "encoder", "extractor"])
@pytest.mark.parametrize("noun", ["track", "artist"])
def test_versions_of_two_bases_are_refused_by_both_names(releases, noun, what):
    release, version = rebuilt(releases, noun, **{what: "f" * 16})
    mixed = release.repin(release.basis, {noun: version})
    with pytest.raises(MismatchedReleaseError) as refused:
        releases.publish(mixed, {ITEMS: pack_items(tabulate())})
    for named in (f"{what} {getattr(release.basis, what)}", "f" * 16, version):
        assert named in str(refused.value)
    # One that was written past the check is refused when it is opened, and when it is to serve.
    smuggled = releases.artifacts.publish(RELEASE, {ITEMS: pack_items(tabulate())}, mixed.as_json()).version
    for act in (releases.open, releases.flip):
        with pytest.raises(MismatchedReleaseError, match=smuggled):
            act(smuggled)


def test_items_of_another_model_are_refused(releases):
    release = releases.describe(publish(releases, 0))
    for items in (tabulate().reverse(), tabulate().head(TRACKS - 1), tabulate().with_columns(is_known_to_model=pl.lit(True))):
        with pytest.raises((MismatchedReleaseError, ContractError)):
            releases.publish(release, {ITEMS: pack_items(items)})
    with pytest.raises(ArtifactError, match="has a file"):
        releases.publish(release, {})
    with pytest.raises(ContractError, match="columns"):
        releases.publish(release, {ITEMS: b"".join([pack_items(tabulate())]).replace(b"artist_name", b"artist_nam2")})
    with pytest.raises(ArtifactError, match="there is no version"):
        releases.publish(release.repin(release.basis, {"artist": "0" * 16}), {ITEMS: pack_items(tabulate())})


def test_an_index_keeps_histories_only_of_listeners_and_only_of_its_items(releases):
    opened = releases.open(publish(releases, 0))
    for noun, histories in (("track", opened.histories), ("listener", None)):
        with pytest.raises(ValueError, match="histories belong"):
            keep_index(releases.artifacts, noun, opened.tracks, opened.release.basis, histories=histories)
    other = Basis(opened.release.basis.model, "f" * 16)
    with pytest.raises(MismatchedReleaseError, match="histories"):
        keep_index(releases.artifacts, "listener", opened.listeners, other, histories=opened.histories)


@pytest.mark.parametrize("name", [RELEASE, MODEL, *map(index_name, ("track", "artist", "listener"))])
def test_a_changed_byte_anywhere_keeps_a_release_from_serving(releases, name):
    good, bad = publish(releases, 0), publish(releases, 1)
    releases.flip(good)
    pins = {RELEASE: bad, **releases.describe(bad).pins}
    folder = releases.artifacts.place.local(f"{name}/{pins[name]}")
    path = next(path for path in sorted(folder.iterdir()) if path.name not in ("manifest.json", "index.json"))
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(ArtifactError, match="was changed"):
        releases.flip(bad)
    with pytest.raises(ArtifactError, match="was changed"):
        releases.open(bad)
    assert releases.current() == good


def test_a_rollback_to_a_broken_release_changes_nothing(releases):
    first, second = publish(releases, 0), publish(releases, 1)
    releases.flip(first)
    releases.flip(second)
    (releases.artifacts.place.local(f"{RELEASE}/{first}") / ITEMS).unlink()
    with pytest.raises(ArtifactError, match="is missing"):
        releases.rollback()
    assert releases.current() == second


def test_retaining_removes_old_releases_with_what_only_they_pinned(releases):
    made = [publish(releases, moment) for moment in range(5)]
    for version in made[:4]:
        releases.flip(version)
        time.sleep(0.002)  # the times of versions have milliseconds
    shared = releases.describe(made[0]).artist_index
    gone_index = releases.describe(made[0]).track_index
    assert releases.retain(1) == made[:2]
    assert [each.version for each in releases.kept()] == made[2:], "the one that was not flipped yet stays"
    left = {each.version for each in releases.artifacts.versions(index_name("track"))}
    assert gone_index not in left and len(left) == 3 and shared not in left
    assert releases.rollback() == made[2]
    with pytest.raises(UnknownReleaseError):
        releases.rollback()
    assert all(moment_of(releases.open(version)) == 2 + place for place, version in enumerate(made[2:]))
    assert releases.retain(0) == [] and releases.current() == made[2], "what is younger than the one that serves stays"


def test_retaining_before_anything_serves_removes_nothing(releases):
    publish(releases, 0)
    assert releases.retain(0) == [] and len(releases.kept()) == 1


def test_asking_for_the_current_version_reads_the_pointer_only_after_a_change(releases, monkeypatch):
    first, second = publish(releases, 0), publish(releases, 1)
    releases.flip(first)
    assert releases.current() == first
    reads = []
    real = type(releases.artifacts).pointers
    monkeypatch.setattr(type(releases.artifacts), "pointers", lambda self, name: reads.append(name) or real(self, name))
    assert [releases.current() for _ in range(100)] == [first] * 100 and not reads
    open_at(releases.artifacts.place.local("").parent).flip(second)
    assert releases.current() == second and releases.current() == second


def test_a_reader_that_is_overtaken_reads_the_next_release(releases):
    first, second = publish(releases, 0), publish(releases, 1)
    releases.flip(first)
    seen = []

    def read(opened):
        seen.append(opened.version)
        if len(seen) == 1:  # meanwhile it is replaced and removed
            releases.flip(second)
            releases.retain(0)
            (opened.model_folder / "never").read_bytes()
        return moment_of(opened)

    assert releases.read_current(read) == 1 and seen == [first, second]
    with pytest.raises(FileNotFoundError):
        releases.read_current(lambda opened: (opened.model_folder / "never").read_bytes())


def test_the_digest_of_items_hangs_on_order_and_borders():
    digests = [items_digest(each) for each in (["a", "b"], ["b", "a"], ["ab"], ["a", "b", ""], [])]
    assert len(set(digests)) == 5 and all(len(each) == 16 for each in digests)
    assert items_digest(np.array(["a", "b"], object)) == digests[0]


def test_a_gate_is_kept_with_its_figures(releases):
    assert releases.describe(publish(releases, 0)).gate == PASSED
