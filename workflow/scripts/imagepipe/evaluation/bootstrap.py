"""The confidence interval of a metric that is no fraction of images: the percentile bootstrap.

Efron and Tibshirani (1993), "An introduction to the bootstrap", chapter 13. The images are drawn
again and again, as many as there are, with replacement; the interval has 95 % of the metric's
values. A resample is the number of times that it has each image, so that a metric's values for all
resamples come from few products of matrices.
"""

from collections.abc import Sequence

import numpy as np
from scipy.sparse import csr_matrix

from imagepipe.config.metric_names import k_of_metric
from imagepipe.dataset.submission_form import MetricChoice
from imagepipe.metrics.decisions import NO_THRESHOLDS, Thresholds, class_numbers, decide
from imagepipe.metrics.metric import hits, is_class, log_loss, map_at_k

MOST_RESAMPLES, LEAST_RESAMPLES = 1000, 100
# The most numbers of all resamples together: 80 MB.
MAX_COUNTS = 10_000_000


def bootstrap_interval(
    choice: MetricChoice,
    probabilities: np.ndarray,
    labels: np.ndarray,
    classes: Sequence[str],
    thresholds: Thresholds = NO_THRESHOLDS,
) -> tuple[float | None, float | None, int]:
    """Return the interval's bounds and the number of resamples; the arguments of `compute_metric`.

    The same images give the same interval. The bounds are None if the metric is the same in all
    resamples, as where the model makes no mistake, or is not defined in most: then the bootstrap
    cannot tell how far it would vary.
    """
    images = len(labels)
    columns = len(classes) / 10 if choice.name == "mean_column_roc_auc" else 1.0
    affordable = int(MAX_COUNTS / (images * max(1.0, columns)))
    resamples = max(LEAST_RESAMPLES, min(MOST_RESAMPLES, affordable))
    generator = np.random.default_rng(0)
    counts = np.empty((images, resamples))
    for sample in range(resamples):
        drawn = generator.integers(images, size=images)
        counts[:, sample] = np.bincount(drawn, minlength=images)
    values = resampled_metric(choice, probabilities, labels, classes, thresholds, counts)
    values = values[np.isfinite(values)]
    if len(values) < resamples / 2 or np.ptp(values) < 1e-12:
        return None, None, resamples
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high), resamples


def resampled_metric(
    choice: MetricChoice,
    probabilities: np.ndarray,
    labels: np.ndarray,
    classes: Sequence[str],
    thresholds: Thresholds,
    counts: np.ndarray,
) -> np.ndarray:
    """Return a metric's value for each resample, float64 [resamples], NaN where it is not defined.

    counts: float64 [N, resamples], how often a resample has each image, N images in all. The other
    arguments are those of `compute_metric`, which has the same value for images repeated like that.
    Of a fraction of images, the accuracy or a top-k error, `intervals.wilson` is the interval.
    """
    name, images = choice.name, len(labels)
    probabilities = probabilities.astype(np.float64)
    if name == "roc_auc":
        positive = classes.index(choice.positive or classes[-1])
        return _roc_auc(is_class(labels, positive), probabilities[:, positive], counts)
    if name == "mean_column_roc_auc":
        return _mean_column_roc_auc(probabilities, labels, counts)
    if name == "log_loss":
        of_image = [log_loss(probabilities[[i]], labels[[i]]) for i in range(images)]
        return np.asarray(of_image @ counts / images)
    if k := k_of_metric(name):
        is_hit = hits(probabilities, labels, k)
        label_count = labels.sum(axis=1) if labels.ndim == 2 else np.ones(images)
        of_image = [map_at_k(is_hit[[i]], label_count[[i]]) for i in range(images)]
        return np.asarray(of_image @ counts / images)
    predicted = decide(probabilities, classes, thresholds, several_labels=labels.ndim == 2)
    if name == "quadratic_weighted_kappa":
        numbers = class_numbers(classes)
        return _kappa(numbers[labels], numbers[predicted], counts)
    return _f_score(choice, predicted, labels, classes, counts)


def _roc_auc(is_positive: np.ndarray, rating: np.ndarray, counts: np.ndarray) -> np.ndarray:
    order = np.argsort(rating, kind="stable")
    is_first = np.diff(rating[order], prepend=-np.inf) > 0
    # Images of equal rating are one group. Groups in a row without a positive are one, too.
    group = np.cumsum(is_first) - 1
    with_positive = np.bincount(group, is_positive[order]) > 0
    begins = with_positive | np.concatenate([[True], with_positive[:-1]])
    group = (np.cumsum(begins) - 1)[group]
    of_group = csr_matrix((np.ones(len(order)), (group, order)))
    positives = of_group.multiply(is_positive).tocsr() @ counts
    negatives = of_group @ counts - positives
    # Of pairs of a positive and a negative: those in the right order, and half of the equal ones.
    below = np.cumsum(negatives, axis=0) - negatives / 2
    pairs = positives.sum(axis=0) * negatives.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((positives * below).sum(axis=0) / pairs)


def _mean_column_roc_auc(
    probabilities: np.ndarray, labels: np.ndarray, counts: np.ndarray
) -> np.ndarray:
    total, defined = np.zeros(counts.shape[1]), np.zeros(counts.shape[1])
    for column in range(probabilities.shape[1]):
        area = _roc_auc(is_class(labels, column), probabilities[:, column], counts)
        total += np.nan_to_num(area)
        defined += np.isfinite(area)
    with np.errstate(invalid="ignore"):
        return total / defined


def _kappa(truth: np.ndarray, rating: np.ndarray, counts: np.ndarray) -> np.ndarray:
    moments = np.stack([truth, rating, truth**2, rating**2, truth * rating])
    t, r, tt, rr, tr = moments @ counts / len(truth)
    # The mean squared distance, and that of all pairs; see `quadratic_weighted_kappa`.
    by_chance = tt + rr - 2 * t * r
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(by_chance > 1e-12, 1 - (tt + rr - 2 * tr) / by_chance, np.nan))


def _f_score(
    choice: MetricChoice,
    predicted: np.ndarray,
    labels: np.ndarray,
    classes: Sequence[str],
    counts: np.ndarray,
) -> np.ndarray:
    base, _, average = choice.name.partition("_")
    beta = float(base.removeprefix("f"))
    is_true, is_predicted = (_indicators(one, len(classes)) for one in (labels, predicted))
    if not average and (choice.positive or (labels.ndim == 1 and len(classes) == 2)):
        column = classes.index(choice.positive or classes[-1])
        is_true, is_predicted = is_true[:, [column]], is_predicted[:, [column]]
        average = "micro"
    parts = (is_true.multiply(is_predicted).tocsr(), is_true, is_predicted)
    if average == "macro":
        hit, true, guessed = (one.T @ counts for one in parts)
        # Of one label, only the classes count that the labels or the predictions have.
        counting = (true + guessed > 0) | (labels.ndim == 2)
        return np.asarray(_f_of_counts(beta, hit, true, guessed).sum(axis=0) / counting.sum(axis=0))
    of_image = [np.asarray(one.sum(axis=1)).ravel() for one in parts]
    if average == "micro":
        return _f_of_counts(beta, *(one @ counts for one in of_image))
    return np.asarray(_f_of_counts(beta, *of_image) @ counts / len(labels))


def _indicators(values: np.ndarray, classes: int) -> csr_matrix:
    """Return which images have which class, 0 and 1 [N, classes], of labels in either form."""
    if values.ndim == 2:
        return csr_matrix(values, dtype=np.float64)
    rows = np.arange(len(values))
    return csr_matrix((np.ones(len(values)), (rows, values)), shape=(len(values), classes))


def _f_of_counts(
    beta: float, hit: np.ndarray, true: np.ndarray, predicted: np.ndarray
) -> np.ndarray:
    """Return F scores, 0 where a class is neither there nor predicted."""
    below = predicted + beta**2 * true
    return np.asarray((1 + beta**2) * hit / np.where(below > 0, below, 1))
