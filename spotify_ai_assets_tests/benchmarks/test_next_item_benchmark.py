from pathlib import Path

import numpy as np
import pytest

from benchmarks import next_item
from benchmarks.next_item import Corpus, Split, gains, hits, rank

ITEMS = 40


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Listeners walk around a circle of items; numbers begin at 1, as in the published files."""
    rng = np.random.default_rng(0)
    walks = [(rng.integers(ITEMS) + np.arange(rng.integers(5, 15))) % ITEMS + 1 for _ in range(60)]
    samples = [rng.permutation(np.setdiff1d(np.arange(1, ITEMS + 1), walk))[:15] for walk in walks]
    for name, rows in (("Walks.txt", walks), ("Walks_sample.txt", samples)):
        (tmp_path / name).write_text("".join(f"{number + 1} {' '.join(map(str, row))}\n" for number, row in enumerate(rows)))
    return tmp_path


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(next_item, "PEER_GRID", {"factors": (4, 8), "alpha": (1.0,), "regularization": (1.0,)})
    monkeypatch.setattr(next_item, "PEER", {"factors": 8, "alpha": 1.0, "regularization": 1.0})
    attention = {"dimensions": 8, "layers": 1, "length": 8, "epochs": 2}
    members = {"neighbours": {"regularization": 1.0}, "transitions:near": {"regularization": 1.0}, "attention": attention}
    weights = {"neighbours": 0.2, "transitions:near": 1.0, "attention": 0.1}
    monkeypatch.setattr(next_item, "OURS", {"members": members, "weights": weights})


def test_places_are_counted_among_what_the_protocol_says():
    scores = np.array([[0.9, 0.8, 0.5, 0.5, 0.1, 0.7]])
    split = Split([np.array([0])], np.array([2]))
    found = rank(scores, split, [np.array([4, 3, 5])])
    assert found.all.tolist() == [3]  # behind 1 and 5, and behind 3 by the rule of ties; 0 is in the history
    assert found.sampled.tolist() == [2]
    assert hits(found.all, 3).tolist() == [0] and hits(found.all, 4).tolist() == [1]
    assert gains(np.array([0, 1, 9, 10]), 10) == pytest.approx([1, 1 / np.log2(3), 1 / np.log2(11), 0])


def test_a_cut_hides_one_item_and_forgets_what_follows(folder: Path):
    corpus = Corpus(folder)
    test, valid = corpus.open_test(), corpus.cut(2)
    assert (corpus.items, corpus.test_reads) == (ITEMS, 1)
    for history, hidden, longer in zip(valid.histories, valid.hidden, test.histories, strict=True):
        assert [*history, hidden] == longer.tolist()


def test_the_order_decides_and_the_test_is_read_once(folder: Path, small: None):
    found = next_item.measure(folder, refit=1)
    assert found["test_reads"] == 1 and found["cases"] == 60
    assert found["ours"] == found["recall"] and float(str(found["recall"])) > 0.9
    figures, included, over_peer = found["sampled"], found["fit_includes_valid"], found["ndcg_over_peer"]
    assert isinstance(figures, dict) and isinstance(included, dict) and isinstance(over_peer, list)
    assert over_peer[0] > 0 and found["published"] == {}
    assert figures["ours"]["hr10"] >= figures["popularity"]["hr10"]
    assert included == {"ours": False, "refitted": True, "implicit": False, "popularity": False}


def test_a_choice_opens_no_test(folder: Path, small: None):
    found = next_item.measure(folder, choose=1)
    assert found["test_reads"] == 0
    rows = found["ours"]
    assert isinstance(rows, dict) and {"frozen", "neighbours times 0", "attention times 0"} <= set(rows)
    peer = found["peer"]
    assert isinstance(peer, dict) and peer["settings"]["factors"] in (4, 8)


def test_a_folder_of_another_layout_is_refused(tmp_path: Path):
    with pytest.raises(SystemExit, match=r"has no NAME_sample\.txt"):
        Corpus(tmp_path)
