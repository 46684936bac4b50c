"""Which images are shown: the surest mistakes, and the least sure hits."""

from collections.abc import Sequence

import numpy as np

from imagepipe.evaluation.evaluation_file import Prediction

MOST_SHOWN = 12


def surest_mistakes(
    ids: Sequence[str],
    rows: Sequence[int],
    probabilities: np.ndarray,
    labels: np.ndarray,
    decided: np.ndarray,
    classes: Sequence[str],
) -> list[Prediction]:
    """Return the mistakes with the highest probability of the wrong prediction first.

    Of several labels: with the highest probability of a class's wrong decision. rows: each image's
    position in the packed array. probabilities: float64 [N, classes]. labels, decided: int [N], or
    0 and 1 [N, classes].
    """
    if labels.ndim == 2:
        confidence = np.where(decided == labels, -1, _of_states(probabilities, decided)).max(axis=1)
        wrong = np.flatnonzero((decided != labels).any(axis=1))
    else:
        confidence = probabilities[np.arange(len(labels)), decided]
        wrong = np.flatnonzero(decided != labels)
    first = wrong[np.argsort(-confidence[wrong], kind="stable")][:MOST_SHOWN]
    return _predictions(first, ids, rows, probabilities, labels, decided, classes)


def least_sure_hits(
    ids: Sequence[str],
    rows: Sequence[int],
    probabilities: np.ndarray,
    labels: np.ndarray,
    decided: np.ndarray,
    classes: Sequence[str],
) -> list[Prediction]:
    """Return the right predictions with the lowest probability first; see `surest_mistakes`.

    Of several labels: with the lowest probability of a class's decision.
    """
    if labels.ndim == 2:
        confidence = _of_states(probabilities, decided).min(axis=1)
        right = np.flatnonzero((decided == labels).all(axis=1))
    else:
        confidence = probabilities[np.arange(len(labels)), decided]
        right = np.flatnonzero(decided == labels)
    first = right[np.argsort(confidence[right], kind="stable")][:MOST_SHOWN]
    return _predictions(first, ids, rows, probabilities, labels, decided, classes)


def _of_states(probabilities: np.ndarray, states: np.ndarray) -> np.ndarray:
    """Return the probability that each class is there or not, as `states` (0 and 1) says."""
    return np.where(states == 1, probabilities, 1 - probabilities)


def _predictions(
    chosen: np.ndarray,
    ids: Sequence[str],
    rows: Sequence[int],
    probabilities: np.ndarray,
    labels: np.ndarray,
    decided: np.ndarray,
    classes: Sequence[str],
) -> list[Prediction]:
    def name(value: np.ndarray) -> str:
        if labels.ndim == 1:
            return classes[int(value)]
        return "|".join(classes[i] for i in map(int, np.flatnonzero(value)))

    def probability(image: int, value: np.ndarray) -> float:
        if labels.ndim == 1:
            return float(probabilities[image, value])
        return float(_of_states(probabilities[image], value).mean())

    return [
        Prediction(
            ids[i],
            rows[i],
            name(labels[i]),
            name(decided[i]),
            probability(i, decided[i]),
            probability(i, labels[i]),
        )
        for i in map(int, chosen)
    ]
