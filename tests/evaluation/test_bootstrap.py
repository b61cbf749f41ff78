from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm, spearmanr

from embcompress.evaluation import compare, mean_difference, mean_result, measure, skip
from embcompress.evaluation.similarity import spearman

KEY = ("task", "set", "accuracy")


def result_of(outcomes, items=None, key=KEY, **options):
    items = np.arange(len(outcomes)) if items is None else items
    return measure(key, "space", outcomes, items, n_items=1000, **options)


@given(st.integers(2, 60), st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_weighted_spearman_is_scipys_on_the_drawn_items(n, n_values, seed):
    rng = np.random.default_rng(seed)
    outcomes = rng.integers(0, n_values + 1, size=(n, 2)).astype(float)  # many ties
    drawn = rng.integers(0, n, size=(5, n))
    weights = np.stack([np.bincount(row, minlength=n) for row in drawn]).astype(float)
    for value, row in zip(spearman(outcomes, weights), outcomes[drawn], strict=True):
        if np.ptp(row[:, 0]) == 0 or np.ptp(row[:, 1]) == 0:
            assert value == 0
        else:
            assert value == pytest.approx(spearmanr(row[:, 0], row[:, 1]).statistic, abs=1e-9)


@given(st.lists(st.booleans(), min_size=1, max_size=50), st.integers(0, 99))
def test_the_interval_holds_the_value(outcomes, seed):
    result = result_of(np.array(outcomes, dtype=float), random_state=seed, n_resamples=50)
    assert result.value == pytest.approx(np.mean(outcomes))
    assert 0 <= result.low <= result.value <= result.high <= 1


def test_the_interval_of_a_mean_is_the_normal_one():
    outcomes = (np.random.default_rng(0).random(2000) < 0.3).astype(float)
    result = result_of(outcomes, n_resamples=4000)
    half = norm.ppf(0.975) * outcomes.std() / np.sqrt(2000)
    assert result.low == pytest.approx(result.value - half, abs=0.002)
    assert result.high == pytest.approx(result.value + half, abs=0.002)


def test_the_same_seed_gives_the_same_interval():
    outcomes = np.random.default_rng(0).random(100)
    first, again = result_of(outcomes), result_of(outcomes)
    other = result_of(outcomes, random_state=1)
    assert (first.low, first.high) == (again.low, again.high) != (other.low, other.high)


@given(st.integers(1, 40), st.integers(0, 99))
def test_a_result_does_not_differ_from_itself(n, seed):
    result = result_of(np.random.default_rng(seed).random(n), n_resamples=20)
    difference = compare(result, result)
    assert (difference.value, difference.low, difference.high) == (0, 0, 0)
    assert difference.retention == pytest.approx(1)


def test_pairing_is_by_item():
    rng = np.random.default_rng(0)
    outcomes = rng.random(200)
    result = result_of(outcomes + 0.1)
    order = rng.permutation(200)[:150]
    reference = result_of(outcomes[order], order)
    difference = compare(result, reference)
    assert difference.n_items == 150
    for bound in (difference.value, difference.low, difference.high):
        assert bound == pytest.approx(0.1)
    assert difference.reference == pytest.approx(outcomes[order].mean())
    assert difference.retention == pytest.approx(1 + 0.1 / outcomes[order].mean())


def test_pairing_narrows_the_interval():
    rng = np.random.default_rng(0)
    outcomes = rng.random(300)
    first, second = result_of(outcomes), result_of(outcomes + 0.01 * rng.random(300))
    difference = compare(second, first)
    assert difference.high - difference.low < (first.high - first.low) / 10
    assert difference.low > 0


def test_means_over_sets():
    rng = np.random.default_rng(0)
    sets = [result_of(rng.random(n), key=("task", f"set {n}", "accuracy")) for n in (50, 100, 200)]
    mean = mean_result([*sets, skip(KEY, "space", n_items=9, n_covered=0)])
    assert mean.value == pytest.approx(np.mean([r.value for r in sets]))
    assert mean.low < mean.value < mean.high
    assert mean.n_sets == 3
    assert mean.datasets == ("set 50", "set 100", "set 200")
    # narrower than the mean of the intervals: the sets are drawn independently
    assert mean.high - mean.low < np.mean([r.high - r.low for r in sets])
    difference = mean_difference(sets, [*reversed(sets)])
    assert difference.value == difference.low == difference.high == 0
    assert (difference.n_sets, difference.n_items) == (3, 350)
    assert difference.reference == pytest.approx(mean.value)


def test_seeds_are_averaged_before_sets():
    rng = np.random.default_rng(0)
    other = ("task", "other", "accuracy")
    seeds = [result_of(rng.random(50)) for _ in range(3)]
    single = result_of(rng.random(50), key=other)
    mean = mean_result([*seeds, single])
    assert mean.n_sets == 2
    assert mean.value == pytest.approx((np.mean([s.value for s in seeds]) + single.value) / 2)
    difference = mean_difference(seeds, [seeds[0]])
    assert difference.value == pytest.approx(np.mean([s.value for s in seeds]) - seeds[0].value)


def test_nothing_to_show_is_none_and_never_nan():
    empty = skip(KEY, "space", n_items=20, n_covered=2)
    full = result_of(np.ones(20))
    assert empty.skipped
    assert empty.note == "set: only 2 of 20 items have all their words"
    assert str(empty) == f"task set, accuracy, space: skipped ({empty.note})"
    assert "NaN" not in json.dumps([empty.to_row(), full.to_row()])
    assert compare(full, empty).value is None
    assert compare(full, empty).retention is None
    assert mean_result([empty]).value is None
    apart = replace(full, items=full.items + 100)
    assert compare(full, apart).value is None
    assert str(full) == "task set, accuracy, space: 1.000 [1.000, 1.000], 20 of 1000 covered"


def test_messages():
    with pytest.raises(ValueError, match="task set accuracy cannot be compared with task b acc"):
        compare(result_of(np.ones(3)), result_of(np.ones(3), key=("task", "b", "accuracy")))
    with pytest.raises(ValueError, match="outcomes hold NaN"):
        result_of(np.array([np.nan]))
    with pytest.raises(ValueError, match=r"outcomes of shape \(0, 1\) came"):
        result_of(np.array([]))
