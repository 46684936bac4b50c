"""The thresholds that make the most of a metric of predicted classes, found on validation images.

Few images have many thresholds that look best by chance. So each threshold is the median of those
that are best for 101 bootstrap samples of the images; a class with few images gets the common
threshold of all classes; and thresholds that do not beat the plain decision are not used.
"""

from collections.abc import Sequence

import numpy as np

from imagepipe.config.dataset import THRESHOLD_METRICS
from imagepipe.dataset.submission_form import MetricChoice
from imagepipe.metrics.decisions import NO_THRESHOLDS, Thresholds, class_numbers
from imagepipe.metrics.metric import compute_metric, is_class

BOOTSTRAP_SAMPLES = 101
# A class of several labels has a threshold of its own if at least as many images have it.
MIN_POSITIVES = 20
# Plain thresholds, and as many quantiles of the probabilities, for classes that are rarely likely.
GRID = np.arange(1, 100) / 100
MAX_SWEEPS = 20


def choose_thresholds(
    choice: MetricChoice, probabilities: np.ndarray, labels: np.ndarray, classes: Sequence[str]
) -> Thresholds:
    """Return the thresholds for a metric; the arguments are those of `compute_metric`.

    On these images, they are never worse than the plain decision. The same images give the same
    thresholds.
    """
    if choice.name not in THRESHOLD_METRICS or len(labels) == 0:
        return NO_THRESHOLDS
    probabilities = probabilities.astype(np.float64)
    found = [NO_THRESHOLDS]
    if choice.name == "quadratic_weighted_kappa":
        found += _ordinal(probabilities, labels, classes)
    elif labels.ndim == 2:
        found += _of_several_labels(choice, probabilities, labels)
    elif "_" not in choice.name and len(classes) == 2:
        positive = choice.positive or classes[-1]
        column = classes.index(positive)
        chances, is_positive = probabilities[:, [column]], is_class(labels, column)[:, None]
        counts = _bootstrap_counts(len(labels))
        value = _best(chances, is_positive, counts, _beta(choice), per_image=False)
        found.append(Thresholds("one", (value,), positive))
    values = [compute_metric(choice, probabilities, labels, classes, one) for one in found]
    if values[0] is None:  # not defined, as the kappa of images of one class
        return NO_THRESHOLDS
    scores = [-np.inf if value is None else value for value in values]
    return found[int(np.argmax(scores))]  # the plainest of equals


def _beta(choice: MetricChoice) -> float:
    return 2.0 if choice.name == "f2" else 1.0


def _of_several_labels(
    choice: MetricChoice, probabilities: np.ndarray, labels: np.ndarray
) -> list[Thresholds]:
    per_image = choice.name not in ("f1_micro", "f1_macro")
    is_true, beta, counts = labels == 1, _beta(choice), _bootstrap_counts(len(labels))
    common = _best(probabilities, is_true, counts, beta, per_image=per_image)
    found = [Thresholds("one", (common,))]
    if choice.name == "f1_macro":
        values = [
            _best(probabilities[:, [c]], is_true[:, [c]], counts, beta, per_image=False)
            if is_true[:, c].sum() >= MIN_POSITIVES
            else common
            for c in range(labels.shape[1])
        ]
        found.append(Thresholds("per_class", tuple(values)))
    if is_true.any(axis=1).all():
        found += [Thresholds(one.kind, one.values, at_least_one=True) for one in found]
    return found


def _bootstrap_counts(images: int) -> np.ndarray:
    """Return how often each sample draws each image, float32 [samples, N]."""
    generator = np.random.default_rng(0)
    chances = np.full(images, 1 / images)
    return generator.multinomial(images, chances, BOOTSTRAP_SAMPLES).astype(np.float32)


def _best(
    probabilities: np.ndarray,
    is_true: np.ndarray,
    counts: np.ndarray,
    beta: float,
    *,
    per_image: bool,
) -> float:
    """Return one threshold for all columns of probabilities [N, C], whose truth is bool [N, C].

    It is for the mean F-score of the images, or for that of all labels together. `counts` is that
    of `_bootstrap_counts`.
    """
    quantiles = np.quantile(probabilities, GRID)
    candidates = np.unique(np.concatenate([GRID, quantiles]))
    candidates = candidates[np.argsort(abs(candidates - 0.5), kind="stable")]
    # Classes first: sums over short rows take longer.
    columns, truth = np.ascontiguousarray(probabilities.T), np.ascontiguousarray(is_true.T)
    hits = np.empty((len(candidates), len(probabilities)), dtype=np.float32)
    predicted = np.empty_like(hits)
    for i, candidate in enumerate(candidates):
        is_over = columns >= candidate
        predicted[i] = is_over.sum(axis=0)
        hits[i] = (is_over & truth).sum(axis=0)
    true = truth.sum(axis=0, dtype=np.float32)[None]
    if per_image:
        scores = counts @ _f_score(hits, predicted, true, beta).T
    else:
        scores = _f_score(counts @ hits.T, counts @ predicted.T, counts @ true.T, beta)
    # The best one is the first of equals, which is the nearest to 0.5.
    return float(np.median(candidates[scores.argmax(axis=1)]))


def _f_score(hits: np.ndarray, predicted: np.ndarray, true: np.ndarray, beta: float) -> np.ndarray:
    below = predicted + beta**2 * true
    return (1 + beta**2) * hits / np.maximum(below, 1e-9)


def _ordinal(
    probabilities: np.ndarray, labels: np.ndarray, classes: Sequence[str]
) -> list[Thresholds]:
    numbers = class_numbers(classes)
    levels = np.unique(numbers)
    if len(levels) < max(2, len(classes)):
        return []
    expected = probabilities @ numbers
    order = np.argsort(expected, kind="stable")
    middles = (levels[:-1] + levels[1:]) / 2
    sorted_expected, truth = expected[order], numbers[labels][order]
    counts = _bootstrap_counts(len(labels))
    samples = [
        _boundaries(sorted_expected, truth, sample[order].astype(np.float64), levels, middles)
        for sample in counts
    ]
    median = np.median(samples, axis=0)
    return [Thresholds("ordinal", tuple(map(float, values))) for values in (middles, median)]


def _boundaries(
    expected: np.ndarray,
    truth: np.ndarray,
    weights: np.ndarray,
    levels: np.ndarray,
    start: np.ndarray,
) -> np.ndarray:
    """Return the boundaries between levels that give the highest kappa, by coordinate search.

    expected: ascending float64 [N], cut by the boundaries. truth, weights: float64 [N]. levels:
    ascending float64 [K]. start: float64 [K - 1], the first boundaries.
    """
    total = weights.sum()
    # Sums over the images before each position.
    weight_before = np.concatenate([[0.0], np.cumsum(weights)])
    truth_before = np.concatenate([[0.0], np.cumsum(weights * truth)])
    mean_truth = truth_before[-1] / total
    mean_square = (weights * truth**2).sum() / total
    # A boundary does not divide equal values.
    is_cut = np.concatenate([[True], expected[1:] > expected[:-1], [True]])
    cuts = np.searchsorted(expected, start, side="left")
    for _ in range(MAX_SWEEPS):
        before = cuts.copy()
        for i in range(len(cuts)):
            low = cuts[i - 1] if i else 0
            high = cuts[i + 1] if i + 1 < len(cuts) else len(expected)
            places = low + np.flatnonzero(is_cut[low : high + 1])
            edges = np.concatenate([[0], cuts, [len(expected)]])
            weight = np.diff(weight_before[edges])
            product = np.diff(truth_before[edges])
            rest = [k for k in range(len(levels)) if k not in (i, i + 1)]
            lower, upper = levels[i], levels[i + 1]
            weight_lower = weight_before[places] - weight_before[low]
            weight_upper = weight_before[high] - weight_before[places]
            truth_lower = truth_before[places] - truth_before[low]
            truth_upper = truth_before[high] - truth_before[places]
            mean = weight[rest] @ levels[rest] + weight_lower * lower + weight_upper * upper
            square = weight[rest] @ levels[rest] ** 2 + (
                weight_lower * lower**2 + weight_upper * upper**2
            )
            cross = product[rest] @ levels[rest] + truth_lower * lower + truth_upper * upper
            distance = mean_square + (square - 2 * cross) / total
            by_chance = mean_square + square / total - 2 * mean_truth * mean / total
            kappa = np.where(by_chance > 1e-12, 1 - distance / np.maximum(by_chance, 1e-12), -1)
            # The place in the middle of the best ones: the first and the last are arbitrary.
            best = np.flatnonzero(kappa >= kappa.max() - 1e-12)
            cuts[i] = places[best[len(best) // 2]]
        if (cuts == before).all():
            break
    return _values_at(cuts, expected, start)


def _values_at(cuts: np.ndarray, expected: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Return a value between the images before and after each cut."""
    ends = np.concatenate([[expected[0] - 1], expected, [expected[-1] + 1]])
    values = (ends[cuts] + ends[cuts + 1]) / 2
    # Beyond all images, the first boundary is as good, and less extreme.
    values = np.where(cuts == 0, np.minimum(values, start), values)
    return np.maximum.accumulate(np.where(cuts == len(expected), np.maximum(values, start), values))
