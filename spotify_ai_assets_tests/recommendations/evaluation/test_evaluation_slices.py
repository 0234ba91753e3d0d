"""Slices of listeners and items, and the rows of the table of evaluation."""

import numpy as np
import polars as pl
import pytest
from scipy.sparse import csr_matrix

from spotify_ai_assets.recommendations.contracts import EVALUATION
from spotify_ai_assets.recommendations.evaluation.metrics import Measured, measure, relevance
from spotify_ai_assets.recommendations.evaluation.slices import cut, find_head, frame
from spotify_ai_assets.training.metrics import bootstrap_interval
from spotify_ai_assets.validation import violations

ITEMS, LISTENERS, K = 60, 200, 5


def made(seed: int = 0) -> tuple[Measured, csr_matrix, np.ndarray, np.ndarray]:
    """Shelves of listeners who like even items and are served better the more they have heard."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 25, LISTENERS)
    weights = 1 / np.arange(1, ITEMS + 1)
    heard = [np.sort(rng.choice(ITEMS, size, replace=False, p=weights / weights.sum())) for size in sizes]
    seen = csr_matrix((np.ones(sizes.sum(), np.float32), np.concatenate(heard), np.r_[0, sizes.cumsum()]), shape=(LISTENERS, ITEMS))
    truth = csr_matrix((rng.random((LISTENERS, ITEMS)) < 0.1).astype(np.float32))
    tops = np.array([rng.permutation(ITEMS)[:K] for _ in range(LISTENERS)], np.int32)
    popularity = np.bincount(seen.indices, minlength=ITEMS)
    countries = rng.choice(["DE", "FR", "IS"], LISTENERS, p=[0.6, 0.35, 0.05])
    return measure(tops, truth, seen=seen, item_popularity=popularity), seen, popularity, countries


def test_the_head_is_the_fewest_items_that_hold_their_share() -> None:
    counts = np.array([1, 5, 0, 10, 4])
    assert find_head(counts, 0.5).tolist() == [False, False, False, True, False]
    assert find_head(counts, 0.51).tolist() == [False, True, False, True, False]
    assert find_head(counts, 1.0).tolist() == [True, True, False, True, True], "what nobody heard is never the head"
    assert not find_head(np.zeros(3)).any()


def test_listeners_and_items_are_cut_into_parts_that_make_up_the_whole() -> None:
    _, seen, popularity, countries = made()
    slices = {each.name: each for each in cut(seen, item_popularity=popularity, countries=countries)}
    assert set(slices) == {"cold", "warm", "head", "tail", "country:DE", "country:FR"}, "too few listen in Iceland"
    for one, other, part in (("cold", "warm", "listeners"), ("head", "tail", "items")):
        masks = getattr(slices[one], part), getattr(slices[other], part)
        assert (masks[0] ^ masks[1]).all()
        assert masks[0].any()
    assert (np.diff(seen.indptr)[slices["cold"].listeners] < 10).all()
    assert popularity[slices["head"].items].min() >= popularity[slices["tail"].items].max()
    assert popularity[slices["head"].items].sum() >= popularity.sum() / 3


def test_the_rows_keep_the_contract_and_say_what_was_measured() -> None:
    measured, seen, popularity, countries = made()
    slices = cut(seen, item_popularity=popularity, countries=countries)
    rows = frame(measured, recipe="challenger", recipe_version="0" * 16, table="discovery", slices=slices, repeats=400)
    assert rows.schema == pl.Schema({column.name: column.dtype for column in EVALUATION.columns})
    assert not violations(EVALUATION, rows)
    assert rows.select(EVALUATION.primary_key).is_unique().all()
    values = {(metric, name): (value, cases) for metric, name, value, cases in rows.select("metric", "slice", "value", "cases").iter_rows()}
    by = measured.by_listener
    german = countries == "DE"
    assert values["recall", ""] == (pytest.approx(np.nanmean(by["recall"])), np.isfinite(by["recall"]).sum())
    assert values["ndcg", "country:DE"][0] == pytest.approx(np.nanmean(by["ndcg"][german]))
    assert values["novelty", "country:DE"][1] == german.sum()
    assert values["coverage", ""] == (measured.value("coverage"), LISTENERS)
    assert ("coverage", "cold") not in values


def test_a_slice_of_items_looks_for_those_alone() -> None:
    measured, seen, popularity, _ = made()
    slices = {each.name: each for each in cut(seen, item_popularity=popularity)}
    rows = frame(measured, recipe="als", recipe_version="x", table="daily_mix", slices=[slices["tail"], slices["head"]], repeats=50)
    is_tail = slices["tail"].items
    tail = relevance(measured.tops, csr_matrix(measured.truth.toarray() * is_tail))
    values = dict(rows.filter(metric="recall").select("slice", "value").iter_rows())
    assert values["tail"] == pytest.approx(np.nanmean(tail["recall"]))
    exposure = dict(rows.filter(metric="exposure").select("slice", "value").iter_rows())
    assert exposure["tail"] + exposure["head"] == pytest.approx(1)
    assert exposure["tail"] == pytest.approx(is_tail[measured.tops].mean())
    assert not rows.filter(metric="novelty", slice="tail").height


def test_intervals_in_the_table_are_those_of_the_bootstrap() -> None:
    measured, *_ = made()
    row = frame(measured, recipe="als", recipe_version="x", table="discovery").row(by_predicate=pl.col("metric") == "ndcg", named=True)
    ndcg = measured.by_listener["ndcg"]
    plain = bootstrap_interval(ndcg[np.isfinite(ndcg)])
    assert (row["low"], row["high"]) == pytest.approx((plain.low, plain.high), abs=0.06 * (plain.high - plain.low))


def test_a_slice_of_nobody_has_no_figures_and_no_cases() -> None:
    measured, seen, popularity, _ = made()
    slices = cut(seen, item_popularity=popularity, cold_below=0)
    rows = frame(measured, recipe="als", recipe_version="x", table="discovery", slices=slices, repeats=20)
    cold = rows.filter(slice="cold")
    assert cold.height
    assert cold["cases"].to_list() == [0] * cold.height
    assert cold["value"].null_count() == cold["low"].null_count() == cold.height
