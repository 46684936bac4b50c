"""Intervals of proportions are scipy's, and F1's contain the truth as often as they promise."""

import numpy as np
import pytest
from scipy.stats import binomtest

from imagepipe.evaluation.intervals import estimate, estimates, f1_interval, wilson


@pytest.mark.parametrize("trials", [1, 2, 7, 100, 30_000])
def test_wilson_is_that_of_scipy(trials: int) -> None:
    successes = np.unique(np.linspace(0, trials, 9).round().astype(int))
    value, low, high = wilson(successes, np.full(len(successes), trials))
    for i, k in enumerate(successes):
        expected = binomtest(int(k), trials).proportion_ci(0.95, "wilson")
        assert value[i] == k / trials
        assert low[i] == pytest.approx(expected.low, abs=1e-12)
        assert high[i] == pytest.approx(expected.high, abs=1e-12)
        assert 0 <= low[i] <= value[i] <= high[i] <= 1


def test_nothing_is_known_without_trials() -> None:
    assert np.isnan(wilson(0, 0)).all()
    assert np.isnan(f1_interval(0, 0, 0)).all()
    nothing = estimates(wilson(np.array([0, 1]), np.array([0, 1])))[0]
    assert (nothing.value, nothing.low, nothing.high) == (None, None, None)
    assert estimate(0.5, None, float("nan")).low is estimate(0.5, None, float("nan")).high is None


def test_f1_is_its_definition() -> None:
    hits, positives, predicted = 30, 40, 50
    precision, recall = hits / predicted, hits / positives
    value, low, high = f1_interval(hits, positives, predicted)
    assert value == pytest.approx(2 * precision * recall / (precision + recall))
    assert low < value < high


def test_f1_of_no_mistakes_and_of_no_hits_is_at_its_bound() -> None:
    value, low, high = f1_interval(20, 20, 20)
    assert value == high == 1
    assert 0.8 < low < 0.95
    value, low, high = f1_interval(0, 20, 20)
    assert value == low == 0
    assert 0 < high < 0.2


@pytest.mark.parametrize("images", [50, 200, 2000])
@pytest.mark.parametrize(("recall", "false_alarms"), [(0.9, 0.02), (0.6, 0.1), (0.3, 0.3)])
def test_f1_intervals_contain_the_truth_nineteen_times_of_twenty(
    images: int, recall: float, false_alarms: float
) -> None:
    rate, samples = 0.3, 4000
    rng = np.random.default_rng(0)
    chances = [rate * recall, rate * (1 - recall), (1 - rate) * false_alarms]
    tp, fn, fp, _ = rng.multinomial(images, [*chances, 1 - sum(chances)], samples).T
    truth = 2 * chances[0] / (2 * chances[0] + chances[1] + chances[2])
    _, low, high = f1_interval(tp, tp + fn, tp + fp)
    coverage = np.mean((low <= truth) & (truth <= high))
    assert 0.93 < coverage < 0.975
