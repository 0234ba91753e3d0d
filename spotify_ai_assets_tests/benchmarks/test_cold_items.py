import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import cold_items

ITEMS, TAGS = 60, 4


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Listeners of one tag each, and items that have one."""
    rng = np.random.default_rng(0)
    tags = np.arange(ITEMS) % TAGS
    lines = []
    for listener in range(80):
        chances = np.where(tags == listener % TAGS, 0.5, 0.05)
        lines.append(" ".join(map(str, [listener + 1, *(np.flatnonzero(rng.random(ITEMS) < chances) + 1)])))
    (tmp_path / "LastFM.txt").write_text("\n".join(lines) + "\n")
    given = {str(item + 1): [int(tags[item])] * 3 + [TAGS + int(rng.integers(3))] for item in range(ITEMS)}
    (tmp_path / "LastFM_item2attributes.json").write_text(json.dumps(given))
    return tmp_path


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    fitting = {"is_counted": True, "rarity": 0.5, "steps": 40, "batch_size": 64, "size": 16, "hidden": 32}
    monkeypatch.setattr(cold_items, "TOWERS", {"tags": fitting, "names": fitting})
    monkeypatch.setattr(cold_items, "TOWER_TRIALS", (fitting,))
    monkeypatch.setattr(cold_items, "NEIGHBOUR_TRIALS", cold_items.NEIGHBOUR_TRIALS[:2])


def test_cold_items_are_kept_from_the_fit_and_ranked_by_every_method(folder, quick, capsys):
    found = cold_items.measure(folder, k=5)
    assert (found["cold_items"], found["warm_items"], found["test_reads"]) == (12, 48, 1)
    recall = found["recall"]
    assert isinstance(recall, dict) and list(recall) == ["two_tower", "neighbours", "tag_popularity", "random"]
    assert recall["two_tower"] > recall["tag_popularity"] + 0.1 and recall["neighbours"] > recall["random"] + 0.1
    assert found["ours"] == found["ndcg"]["two_tower"]
    told = capsys.readouterr().err
    assert told.index("are frozen") < told.index("recall@5")


def test_settings_are_chosen_without_the_cold_items(folder, quick):
    found = cold_items.measure(folder, k=5, search=True)
    assert found["test_reads"] == 0 and len(found["trials"]) == 3
    assert set(found["best"]) == {"neighbours", "two_tower"}


def test_neighbours_are_weighed_as_asked(folder):
    described = cold_items.read_described(folder)
    warm, cold = np.arange(50), np.arange(50, ITEMS)
    every = cold_items._by_neighbours(described, warm, cold, is_counted=False, rarity=1.0, keep=0)
    few = cold_items._by_neighbours(described, warm, cold, is_counted=False, rarity=1.0, keep=3)
    content = described.content(is_counted=False, rarity=1.0)
    assert every == pytest.approx(described.matrix[:, warm] @ (content[warm] @ content[cold].T), abs=1e-5)
    assert (few <= every + 1e-6).all() and few.sum() < every.sum()


def test_folders_of_names_are_read_by_their_names(tmp_path, monkeypatch):
    (tmp_path / "artists.dat").write_text("id\tname\turl\tpictureURL\n7\tMotörhead\t\t\n9\tSatie\t\t\n")
    (tmp_path / "user_artists.dat").write_text("userID\tartistID\tweight\n1\t7\t30\n1\t9\t2\n2\t9\t5\n")
    from spotify_ai_assets.catalog.encoding import CharacterGrams

    monkeypatch.setattr(cold_items, "find_encoder", CharacterGrams)
    monkeypatch.setattr(cold_items, "LEAST_LISTENERS", 1)
    found = cold_items.read_described(tmp_path)
    assert found.kind == "names" and found.matrix.toarray().tolist() == [[1, 1], [0, 1]]
    assert np.array_equal(found.content(is_counted=False, rarity=0), CharacterGrams().encode(["Motörhead", "Satie"]))
    monkeypatch.setattr(cold_items, "LEAST_LISTENERS", 2)
    assert cold_items.read_described(tmp_path).matrix.toarray().tolist() == [[1], [1]]
