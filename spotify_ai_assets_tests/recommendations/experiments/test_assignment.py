"""Variants by hash: always the same, in the shares asked for, and stable when shares change."""

import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotify_ai_assets.recommendations.experiments.assignment import assign, check_ratio

UNITS = [f"listener {number}" for number in range(20_000)]
SHARES = st.dictionaries(st.text(max_size=8), st.floats(0.01, 100), min_size=1, max_size=5)


def test_variants_get_their_shares() -> None:
    shares = {"control": 70, "blend": 20, "two_tower": 10}
    found = check_ratio((assign("autumn", unit, shares) for unit in UNITS), shares)
    assert found.fits
    assert found.counts["blend"] == pytest.approx(4_000, rel=0.06)


@given(st.text(max_size=12), st.text(max_size=12), SHARES)
def test_an_assignment_hangs_on_neither_the_order_nor_the_scale_of_the_shares(experiment: str, unit: str, shares: dict[str, float]) -> None:
    chosen = assign(experiment, unit, shares)
    assert chosen in shares
    assert assign(experiment, unit, dict(reversed([*shares.items()]))) == chosen
    assert assign(experiment, unit, {name: share * 8 for name, share in shares.items()}) == chosen
    assert assign(experiment, unit, shares | {"\0never": 0.0}) == chosen


@given(SHARES, st.data())
def test_units_only_move_to_the_variant_that_gained(shares: dict[str, float], data: st.DataObject) -> None:
    gaining = data.draw(st.sampled_from([*sorted(shares), "\0new"]))
    grown = {**shares, gaining: shares.get(gaining, 0) + data.draw(st.floats(0.1, 50))}
    for unit in UNITS[:40]:
        before, after = assign("x", unit, shares), assign("x", unit, grown)
        assert after in (before, gaining)


def test_experiments_are_independent_of_each_other() -> None:
    shares = {"a": 1, "b": 1}
    pairs = Counter((assign("one", unit, shares), assign("two", unit, shares)) for unit in UNITS)
    found = check_ratio(
        (f"{one}{two}" for (one, two), count in pairs.items() for _ in range(count)), dict.fromkeys(["aa", "ab", "ba", "bb"], 1)
    )
    assert found.fits


def test_every_process_says_the_same() -> None:
    said = "from spotify_ai_assets.recommendations.experiments.assignment import assign; "
    ask = f"{said}print(''.join(assign('x', str(n), dict(a=1, b=2, c=3)) for n in range(50)))"
    other = subprocess.run([sys.executable, "-c", ask], check=True, capture_output=True, text=True, env={"PYTHONHASHSEED": "7"}).stdout
    assert other.strip() == "".join(assign("x", str(number), {"c": 3, "a": 1, "b": 2}) for number in range(50))
    assert other.startswith("bacbccbcccbcabbccbcc"), "an assignment must never change between releases"


def test_names_that_run_together_draw_apart() -> None:
    shares = {"a": 1, "b": 1}
    same = sum(assign("x1", f"{unit}", shares) == assign("x", f"1{unit}", shares) for unit in range(2_000))
    assert 850 < same < 1_150


def test_counts_that_do_not_fit_the_shares_are_told() -> None:
    found = check_ratio(["a"] * 5_200 + ["b"] * 4_800, {"a": 1, "b": 1, "off": 0})
    assert not found.fits
    assert found.p == pytest.approx(6.33e-5, rel=1e-2)
    assert found.expected == {"a": 5_000, "b": 5_000}
    assert check_ratio(["a"] * 5_020 + ["b"] * 4_980, {"a": 1, "b": 1}).fits
    assert check_ratio(["a"] * 3, {"a": 0.1}).p == 1


@pytest.mark.parametrize("shares", [{}, {"a": 0}, {"a": -1, "b": 2}, {"a": float("nan")}, {"a": float("inf")}])
def test_shares_that_are_none_are_refused(shares: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="shares"):
        assign("x", "y", shares)


def test_counts_of_nobody_or_of_an_unknown_variant_are_refused() -> None:
    with pytest.raises(ValueError, match="needs units"):
        check_ratio([], {"a": 1})
    with pytest.raises(ValueError, match="no share"):
        check_ratio(["b"], {"a": 1})
