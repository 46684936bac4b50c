"""The competitions' metrics, as scikit-learn or Kaggle defines them.

scikit-learn is imported only for the metrics that need it: the import takes a second.
"""

from collections.abc import Sequence

import numpy as np

from imagepipe.config.metric_names import k_of_metric
from imagepipe.dataset.submission_form import MetricChoice
from imagepipe.metrics.decisions import NO_THRESHOLDS, Thresholds, class_numbers, decide

# Kaggle's bounds of a probability, so that no log loss is infinite.
LEAST_PROBABILITY = 1e-15


def compute_metric(
    choice: MetricChoice,
    probabilities: np.ndarray,
    labels: np.ndarray,
    classes: Sequence[str],
    thresholds: Thresholds = NO_THRESHOLDS,
) -> float | None:
    """Return a metric's value, or None where it is not defined, as for images of one class.

    probabilities: [N, classes]. labels: int [N], positions in `classes`, or 0 and 1 [N, classes] if
    an image may have several labels. The metrics of predicted classes (F1, F2, kappa) apply the
    thresholds; accuracy does not.
    """
    if len(labels) == 0:
        return None
    probabilities = probabilities.astype(np.float64)
    value = _value(choice, probabilities, labels, classes, thresholds)
    return float(value) if np.isfinite(value) else None


def _value(
    choice: MetricChoice,
    probabilities: np.ndarray,
    labels: np.ndarray,
    classes: Sequence[str],
    thresholds: Thresholds,
) -> float:
    name, several = choice.name, labels.ndim == 2
    if k := k_of_metric(name):
        is_hit = hits(probabilities, labels, k)
        count = labels.sum(axis=1) if several else np.ones(len(labels))
        return map_at_k(is_hit, count) if name.startswith("map") else top_k_error(is_hit)
    if name == "log_loss":
        return log_loss(probabilities, labels)
    if name == "roc_auc":
        positive = classes.index(choice.positive or classes[-1])
        return roc_auc(is_class(labels, positive), probabilities[:, positive])
    if name == "mean_column_roc_auc":
        return mean_column_roc_auc(probabilities, labels)
    if name == "accuracy":
        thresholds = NO_THRESHOLDS
    predicted = decide(probabilities, classes, thresholds, several_labels=several)
    if name == "accuracy":
        return float((predicted == labels).reshape(len(labels), -1).all(axis=1).mean())
    if name == "quadratic_weighted_kappa":
        numbers = class_numbers(classes)
        return quadratic_weighted_kappa(numbers[labels], numbers[predicted])
    return f_score(choice, predicted, labels, classes)


def is_class(labels: np.ndarray, position: int) -> np.ndarray:
    """Return which images have a class, bool [N]."""
    return np.asarray(labels[:, position] == 1 if labels.ndim == 2 else labels == position)


def hits(probabilities: np.ndarray, labels: np.ndarray, k: int) -> np.ndarray:
    """Return which of each image's k likeliest classes are right, bool [N, k]."""
    ranking = np.argsort(-probabilities, axis=1, kind="stable")[:, :k]
    if labels.ndim == 2:
        return np.asarray(np.take_along_axis(labels, ranking, axis=1) == 1)
    return np.asarray(ranking == labels[:, None])


def top_k_error(is_hit: np.ndarray) -> float:
    """Return the fraction of images without a hit, of hits [N, k]."""
    return float(1 - is_hit.any(axis=1).mean())


def map_at_k(is_hit: np.ndarray, label_count: np.ndarray) -> float:
    """Return the mean average precision of hits bool [N, k]; an image has `label_count` labels [N].

    Kaggle's formula: the precisions at the hits, added up, over the most hits that there can be.
    """
    k = is_hit.shape[1]
    precision = is_hit.cumsum(axis=1) / np.arange(1, k + 1)
    most = np.clip(label_count, 1, k)
    return float(((precision * is_hit).sum(axis=1) / most).mean())


def log_loss(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Return the mean negative log-probability of the truth.

    Rows are scaled to the sum 1. With several labels [N, classes], it is the mean over the columns.
    """
    if labels.ndim == 2:
        p = np.clip(probabilities, LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)
        return float(-np.where(labels == 1, np.log(p), np.log1p(-p)).mean())
    total = probabilities.sum(axis=1)
    p = probabilities[np.arange(len(labels)), labels]
    p = np.divide(p, total, out=np.zeros_like(p), where=total > 0)
    return float(-np.log(np.clip(p, LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)).mean())


def roc_auc(is_positive: np.ndarray, rating: np.ndarray) -> float:
    """Return the area under the ROC curve, NaN if all images are of one kind."""
    from sklearn.metrics import roc_auc_score

    if is_positive.all() or not is_positive.any():
        return float("nan")
    return float(roc_auc_score(is_positive, rating))


def mean_column_roc_auc(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Return the mean of the classes' ROC AUC, each against the rest.

    A class that no image has, or that all have, does not count.
    """
    columns = range(probabilities.shape[1])
    areas = [roc_auc(is_class(labels, column), probabilities[:, column]) for column in columns]
    defined = [area for area in areas if not np.isnan(area)]
    return float(np.mean(defined)) if defined else float("nan")


def quadratic_weighted_kappa(truth: np.ndarray, rating: np.ndarray) -> float:
    """Return Cohen's kappa of two lists of numbers, weighted by the square of their distance.

    It is 1 minus the mean squared distance over that of all pairs; NaN if all numbers are equal.
    """
    by_chance = truth.var() + rating.var() + (truth.mean() - rating.mean()) ** 2
    return float(1 - np.mean((truth - rating) ** 2) / by_chance) if by_chance else float("nan")


def f_score(
    choice: MetricChoice, predicted: np.ndarray, labels: np.ndarray, classes: Sequence[str]
) -> float:
    """Return F1 or F2 of predicted classes, in the form of the labels."""
    from sklearn.metrics import fbeta_score

    base, _, average = choice.name.partition("_")
    beta = float(base.removeprefix("f"))
    if not average and (choice.positive or (labels.ndim == 1 and len(classes) == 2)):
        positive = classes.index(choice.positive or classes[-1])
        truth, guess = is_class(labels, positive), is_class(predicted, positive)
        return float(fbeta_score(truth, guess, beta=beta, zero_division=0))
    average = average or "samples"
    if average == "samples" and labels.ndim == 1:
        return float((predicted == labels).mean())
    if labels.ndim == 2 and labels.shape[1] == 1:
        # scikit-learn would take 0 and 1 of the only class for two classes.
        if average != "samples":
            return float(fbeta_score(labels[:, 0], predicted[:, 0], beta=beta, zero_division=0))
        labels, predicted = (np.pad(one, ((0, 0), (0, 1))) for one in (labels, predicted))
    return float(fbeta_score(labels, predicted, beta=beta, average=average, zero_division=0))
