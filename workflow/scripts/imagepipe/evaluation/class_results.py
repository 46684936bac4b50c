"""How well each class is found, and which classes are taken for which."""

from collections.abc import Sequence

import numpy as np

from imagepipe.evaluation.evaluation_file import ClassResult, ConfusedPair
from imagepipe.evaluation.intervals import estimates, f1_interval, wilson

# The most pairs of classes that are listed, and the most classes of a whole matrix.
MOST_PAIRS = 20
MATRIX_CLASSES = 20


def class_results(
    labels: np.ndarray, decided: np.ndarray, classes: Sequence[str]
) -> list[ClassResult]:
    """Return each class's results.

    labels, decided: int [N], positions in `classes`, or 0 and 1 [N, classes] if an image may have
    several labels.
    """
    # Counted here, because importing scikit-learn takes as long as all the rest.
    if labels.ndim == 2:
        images, predicted = (labels == 1).sum(axis=0), (decided == 1).sum(axis=0)
        hits = ((labels == 1) & (decided == 1)).sum(axis=0)
    else:
        matrix = confusion_counts(labels, decided, len(classes))
        images, predicted, hits = matrix.sum(axis=1), matrix.sum(axis=0), matrix.diagonal()
    right = len(labels) - images - predicted + 2 * hits
    return [
        ClassResult(name, int(here), int(guessed), int(hit), *figures)
        for name, here, guessed, hit, *figures in zip(
            classes,
            images,
            predicted,
            hits,
            estimates(wilson(hits, predicted)),
            estimates(wilson(hits, images)),
            estimates(f1_interval(hits, images, predicted)),
            estimates(wilson(right, np.full_like(hits, len(labels)))),
            strict=True,
        )
    ]


def confusion_counts(labels: np.ndarray, decided: np.ndarray, classes: int) -> np.ndarray:
    """Return how many images of each class (row) were taken for which (column), int [C, C].

    labels, decided: see `class_results`. Of several labels, row and column of a pair are a class
    that was missed and one that was wrongly predicted for the same image.
    """
    if labels.ndim == 2:
        missed, wrong = (labels == 1) & (decided != 1), (labels != 1) & (decided == 1)
        return np.asarray(missed.T.astype(np.float64) @ wrong).round().astype(np.int64)
    return np.bincount(labels * classes + decided, minlength=classes**2).reshape(classes, classes)


def confused_pairs(
    counts: np.ndarray, images: Sequence[int], classes: Sequence[str]
) -> list[ConfusedPair]:
    """Return the most confused pairs of `confusion_counts`, most images first, then by share.

    images: the number of images of each class.
    """
    off_diagonal = counts - np.diag(np.diag(counts))
    true, predicted = np.nonzero(off_diagonal)
    number = off_diagonal[true, predicted]
    share = number / np.asarray(images)[true]
    order = np.lexsort((-share, -number))[:MOST_PAIRS]
    return [
        ConfusedPair(classes[true[i]], classes[predicted[i]], int(number[i]), float(share[i]))
        for i in order
    ]
