import json
import multiprocessing
import os
import signal

import numpy as np
import polars as pl
import pytest
from release_world import TRACKS, fitted_model, listener, open_at, publish, tiny_model, track

from spotify_ai_assets.recommendations.indices.histories import is_mark
from spotify_ai_assets.recommendations.models.recipes import unpack
from spotify_ai_assets.recommendations.releases import MODEL, RELEASE, index_name
from spotify_ai_assets.recommendations.removal import find_mentions, forget
from spotify_ai_assets.resources.artifacts import Pointers

GONE, COLD, PERSON = track(7), track(TRACKS + 2), listener(4)


def contents(folder):
    """The bytes of all files below a folder, those of parquet files decoded too."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        yield path, path.read_bytes()
        if path.suffix == ".parquet":
            yield path, json.dumps(pl.read_parquet(path).to_dicts(), default=str).encode()


def find(folder, *traces):
    """How many files hold each trace."""
    files = list(contents(folder))
    return [len({path for path, content in files if trace in content}) for trace in traces]


def traces_of(opened):
    """What would tell of the forgotten: ids, vectors in the indices, and what the members of the model learnt of the track."""
    model = unpack(opened.model_folder)
    learnt = [model.members[name].item_vectors[7].tobytes() for name in ("als", "spectral")]
    vectors = [opened.tracks.vectors_of([each]).tobytes() for each in (GONE, COLD)] + [opened.listeners.vectors_of([PERSON]).tobytes()]
    keys = [key.tobytes() for key in opened.histories.recent_of(PERSON)]
    history = [opened.histories.row(PERSON).data[1:].tobytes()]
    ease = [model.members["ease"].weights[7].tobytes()]
    return [GONE.encode(), COLD.encode(), PERSON.encode(), b"Song 0007", *vectors, *learnt, *keys, *history, *ease]


@pytest.fixture
def releases(tmp_path):
    return open_at(tmp_path)


def test_a_forgotten_listener_and_track_leave_no_byte_and_are_never_found(releases, tmp_path):
    former, current, waiting = (publish(releases, moment, fitted_model) for moment in range(3))
    releases.flip(former)
    releases.flip(current)
    before = releases.open(current)
    traces = [trace for version in (former, current, waiting) for trace in traces_of(releases.open(version))]
    assert min(find(tmp_path, *traces)) >= 1, "the scan finds what is there"
    held = find_mentions(releases.artifacts, listeners=[PERSON], tracks=[GONE, COLD])
    assert set(held) == {MODEL, RELEASE, index_name("track"), index_name("listener")} and {len(each) for each in held.values()} == {3}

    done = forget(releases.artifacts, listeners=[PERSON], tracks=[GONE, COLD])

    assert find(tmp_path, *traces) == [0] * len(traces)
    assert find_mentions(releases.artifacts, listeners=[PERSON], tracks=[GONE, COLD]) == {}
    assert set(done.replaced[RELEASE]) == set(done.removed[RELEASE]) == {former, current, waiting}
    opened = releases.open_current()
    assert opened.version == done.replaced[RELEASE][current] == releases.current()
    assert (len(opened.tracks), len(opened.listeners)) == (len(before.tracks) - 2, len(before.listeners) - 1)
    assert opened.histories.row(PERSON) is None and opened.histories.histories.matrix[:, 7].nnz == 0
    row = opened.items.row(7, named=True)
    assert is_mark(row["track_id"]) and row["is_removed"] and row["is_known_to_model"] and {row["name"], row["artist_id"]} == {""}
    assert opened.items["is_removed"].sum() == 2 and opened.items["row"].to_list() == before.items["row"].to_list()
    survivors = [each for each in before.tracks.ids if each not in (GONE, COLD)]
    np.testing.assert_array_equal(opened.tracks.vectors_of(survivors), before.tracks.vectors_of(survivors))
    assert releases.rollback() == done.replaced[RELEASE][former]
    assert releases.open_current().histories.row(PERSON) is None
    releases.flip(done.replaced[RELEASE][waiting])


def test_the_scrubbed_model_answers_for_all_others_as_before(releases):
    releases.flip(publish(releases, 0, fitted_model))
    before = unpack(releases.open_current().model_folder)
    world = releases.open_current().histories.histories.matrix
    others = np.flatnonzero(np.arange(TRACKS) != 7)
    without = world.tolil()
    without[:, 7] = 0
    forget(releases.artifacts, tracks=[GONE])
    model, history = unpack(releases.open_current().model_folder), without.tocsr()
    for name in ("als", "ease", "cooccurrence", "spectral"):
        np.testing.assert_allclose(
            model.members[name].score(history)[:, others], before.members[name].score(history)[:, others], atol=1e-5, err_msg=name
        )
        assert not model.members[name].score(world)[:, 7].any(), name
    assert np.isfinite(model.score(history)).all()


def test_forgetting_the_neighbours_of_a_forgotten_track_leaves_nothing_of_them_in_its_mark(releases, tmp_path):
    releases.flip(publish(releases, 0, fitted_model))
    for number in (7, 6, 0):
        forget(releases.artifacts, tracks=[track(number)])
        assert find(tmp_path, track(number).encode()) == [0]
    ids = releases.open_current().items["track_id"].to_list()
    assert ids == sorted(set(ids)) and [place for place, each in enumerate(ids) if is_mark(each)] == [0, 6, 7]


def test_forgetting_a_listener_leaves_models_and_other_indices_alone(releases):
    version = publish(releases, 0, tiny_model)
    releases.flip(version)
    before = releases.describe(version)
    done = forget(releases.artifacts, listeners=[PERSON], origin={"dagster_run_id": "r"})
    after = releases.describe(releases.current())
    assert set(done.replaced) == {RELEASE, index_name("listener")}
    assert after == before.repin(before.basis, {"listener": after.listener_index}) != before
    told = releases.history()[-1]
    assert releases.artifacts.describe(index_name("listener"), after.listener_index).facts["figures"] == {"recall_at_10": 1}
    assert [each["event"] for each in releases.history()] == ["flipped", "scrubbed", "removed"]
    assert releases.history()[1]["origin"] == {"dagster_run_id": "r"} and told["version"] == version


def test_forgetting_whom_nobody_knows_changes_nothing(releases):
    version = publish(releases, 0)
    releases.flip(version)
    done = forget(releases.artifacts, listeners=["f" * 32], tracks=["unknown"])
    assert not done.replaced and not done.removed and releases.current() == version and len(releases.history()) == 1


def test_versions_that_nothing_needs_are_removed_and_pointers_of_the_registry_follow(releases, tmp_path):
    version = publish(releases, 0, fitted_model)
    releases.flip(version)
    artifacts, pinned = releases.artifacts, releases.describe(version).basis.model
    folder = artifacts.fetch(MODEL, pinned)
    files = {path.name: path for path in folder.iterdir() if path.name != "manifest.json"}
    champion = artifacts.publish(MODEL, files, {"n": "champion"}).version
    stray = artifacts.publish(MODEL, files, {"n": "stray"}).version
    now = Pointers({"champion": champion}, {"champion": [pinned]})
    artifacts.change(MODEL, lambda _before: (now, {"event": "promoted", "version": champion}))
    done = forget(artifacts, tracks=[GONE])
    assert set(done.replaced[MODEL]) == {pinned, champion} and set(done.removed[MODEL]) == {pinned, champion, stray}
    pointers = artifacts.pointers(MODEL)
    assert pointers.aliases == {"champion": done.replaced[MODEL][champion]}
    assert pointers.former == {"champion": [done.replaced[MODEL][pinned]]}
    assert find(tmp_path, GONE.encode()) == [0] and releases.open_current()


# A fork of this process would inherit the threads of polars as locks that nobody opens.
SERVER = multiprocessing.get_context("forkserver")


def forget_and_die(folder, call):
    """Forget, and die at the n-th call that makes something durable, visible or gone."""
    count, real = [0], {name: getattr(os, name) for name in ("fsync", "rename", "replace", "unlink", "rmdir")}

    def deadly(name):
        def act(*arguments, **options):
            count[0] += 1
            if count[0] == call:
                os.kill(os.getpid(), signal.SIGKILL)
            return real[name](*arguments, **options)

        return act

    for name in real:
        setattr(os, name, deadly(name))
    forget(open_at(folder).artifacts, listeners=[PERSON], tracks=[COLD])
    os._exit(0)


@pytest.mark.slow
def test_a_kill_at_any_moment_of_forgetting_leaves_a_release_that_serves_and_the_next_try_finishes(tmp_path):
    call, killed = 1, 0
    while True:
        folder = tmp_path / str(call)
        releases = open_at(folder)
        for moment in range(2):
            releases.flip(publish(releases, moment))
        worker = SERVER.Process(target=forget_and_die, args=(folder, call))
        worker.start()
        worker.join()
        open_at(folder).open_current()
        forget(open_at(folder).artifacts, listeners=[PERSON], tracks=[COLD])
        releases = open_at(folder)
        assert find(folder, PERSON.encode(), COLD.encode()) == [0, 0], call
        assert releases.open_current().histories.row(PERSON) is None
        assert releases.rollback() and releases.open_current().histories.row(PERSON) is None
        if worker.exitcode == 0:
            break
        assert worker.exitcode == -signal.SIGKILL
        killed += 1
        call += 7
    assert killed > 8
