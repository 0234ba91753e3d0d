import numpy as np
import pytest

from benchmarks import vector_index


def test_the_index_is_compared_with_looking_at_every_vector_on_each_set(tmp_path):
    random = np.random.default_rng(0)
    lines = [" ".join(map(str, [person, *random.choice(150, 12, replace=False)])) for person in range(160)]
    (tmp_path / "train.txt").write_text("\n".join(lines))
    document = vector_index.measure(vectors=3_000, kind="ivf_sq8", queries=20, rounds=1, data=tmp_path)
    assert document["name"] == "vector_index" and list(document["sets"]) == ["clustered", "model", "between"]
    assert document["ratio"] == pytest.approx(document["ours"] / document["peer"], rel=0.1)
    for found in document["sets"].values():
        assert found["recall_at_10"] > 0.9 and found["recall_after_updates"] > 0.9 and found["filtered_are_full"]
        assert found["queries"] == 20 and found["kind"] == "ivf_sq8"
    assert document["recall_at_10"] == document["sets"]["between"]["recall_at_10"]
