"""Which images are shown: the surest mistakes, and the least sure hits."""

from collections.abc import Sequence

import numpy as np

from imagepipe.dataset.manifests import CLASS_SEPARATOR
from imagepipe.evaluation.evaluation_file import Prediction

MOST_SHOWN = 12


def mistakes_and_hits(
    ids: Sequence[str],
    rows: Sequence[int],
    probabilities: np.ndarray,
    labels: np.ndarray,
    decided: np.ndarray,
    classes: Sequence[str],
) -> tuple[list[Prediction], list[Prediction]]:
    """Return the surest mistakes first, and the least sure hits first: at most 12 of both.

    How sure a prediction is says its probability or, of several labels, that of the surest wrong
    decision about a class in a mistake, and of the least sure decision in a hit. rows: each image's
    position in the packed array. probabilities: float64 [N, classes]. labels, decided: int [N], or
    0 and 1 [N, classes].
    """
    of_decided = label_probabilities(probabilities, decided)
    of_true = label_probabilities(probabilities, labels)
    is_right = (decided == labels).reshape(len(labels), -1)
    surest_mistake = np.where(is_right, -1, of_decided).max(axis=1)
    least_sure = of_decided.min(axis=1)
    hits, mistakes = (np.flatnonzero(is_right.all(axis=1) == is_hit) for is_hit in (True, False))

    def prediction(image: int) -> Prediction:
        return Prediction(
            ids[image],
            rows[image],
            label_name(labels[image], classes),
            label_name(decided[image], classes),
            float(of_decided[image].mean()),
            float(of_true[image].mean()),
        )

    mistakes = mistakes[np.argsort(-surest_mistake[mistakes], kind="stable")]
    hits = hits[np.argsort(least_sure[hits], kind="stable")]
    return (
        [prediction(image) for image in mistakes[:MOST_SHOWN].tolist()],
        [prediction(image) for image in hits[:MOST_SHOWN].tolist()],
    )


def label_probabilities(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the probability of each image's label, float64 [N, 1].

    Of several labels, 0 and 1 [N, classes], it is that of each class being there or not, as the
    label says: [N, classes].
    """
    if labels.ndim == 1:
        return np.take_along_axis(probabilities, labels[:, None], axis=1)
    return np.where(labels == 1, probabilities, 1 - probabilities)


def label_name(label: np.ndarray, classes: Sequence[str]) -> str:
    """Return the name of a class by its number, or of all that 0 and 1 [classes] say are there."""
    if label.ndim == 0:
        return classes[int(label)]
    return CLASS_SEPARATOR.join(classes[i] for i in np.flatnonzero(label).tolist())
