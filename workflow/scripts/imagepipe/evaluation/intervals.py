"""Confidence intervals of 95 %, for a metric and for the figures of a class."""

from typing import TypeAlias

import numpy as np
from scipy.special import ndtri

from imagepipe.evaluation.evaluation_file import Estimate

# Counts: a number, or one for each class.
Counts: TypeAlias = int | np.ndarray
# The quantile of the normal distribution that leaves 2.5 % above it: 1.96.
Z = float(ndtri(0.975))
WILSON = "Wilson score interval"
F1_WILSON = "Wilson score interval, transformed to F1"


def wilson(successes: Counts, trials: Counts) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return proportions and their score intervals: value, low, high, each float64.

    The formula is that of Wilson (1927), "Probable inference, the law of succession, and
    statistical inference", without a correction for continuity; a test compares it with
    `scipy.stats.binomtest`. NaN where there are no trials.
    """
    k, n = np.asarray(successes, dtype=np.float64), np.asarray(trials, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = k / n
        middle = (k + Z**2 / 2) / (n + Z**2)
        half = Z / (n + Z**2) * np.sqrt(k * (n - k) / n + Z**2 / 4)
    # The bounds at none and at all are 0 and 1, but for the last digit.
    low, high = np.where(k == 0, 0.0, middle - half), np.where(k == n, 1.0, middle + half)
    return tuple(np.where(n > 0, one, np.nan) for one in (value, low, high))  # type: ignore[return-value]


def f1_interval(
    hits: Counts, positives: Counts, predicted: Counts
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return F1 scores and their intervals: value, low, high, each float64.

    hits: the images of a class that are found. positives: all images of the class. predicted: those
    that the class is predicted for. F1 is 2 J / (1 + J) and grows with J = TP / (TP + FP + FN), the
    proportion of hits among the images that have the class or are taken for it. So the bounds are
    those of J's score interval, transformed: the "Wilson indirect" method of Lam, Gopal and Qian
    (2024), "Confidence intervals for the F1 score", arXiv:2309.14621. NaN where J has no images.
    """
    union = np.asarray(positives) + np.asarray(predicted) - np.asarray(hits)
    value, low, high = (2 * j / (1 + j) for j in wilson(hits, union))
    return value, low, high


def estimate(value: float | None, low: float | None, high: float | None) -> Estimate:
    """Return an `Estimate`, where what is NaN becomes None."""
    return Estimate(
        *(None if one is None or np.isnan(one) else float(one) for one in (value, low, high))
    )


def estimates(interval: tuple[np.ndarray, np.ndarray, np.ndarray]) -> list[Estimate]:
    """Return an `Estimate` for each class, of values and bounds float64 [classes]."""
    return [estimate(*one) for one in zip(*interval, strict=True)]
