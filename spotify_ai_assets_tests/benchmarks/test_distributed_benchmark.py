import pytest

from benchmarks import distributed


@pytest.mark.slow
def test_two_ranks_are_timed_beside_one_and_lose_nothing():
    found = distributed.measure(ranks=2, rounds=1, listeners=40, items=60, epochs=1)
    assert found["ranks"] == 2 and float(str(found["first_loss_apart"])) < 1e-5 and float(str(found["loss_apart"])) < 1e-3
    assert float(str(found["speed_up"])) > 0


def test_the_same_sequences_are_drawn_on_every_machine():
    first, again = distributed.draw(5, 30), distributed.draw(5, 30)
    assert [each.tolist() for each in first] == [each.tolist() for each in again]
    assert all(20 <= len(each) <= 60 and each.max() < 30 for each in first)
