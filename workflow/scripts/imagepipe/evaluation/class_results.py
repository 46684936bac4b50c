"""How well each class is found, and which classes are taken for which."""

from collections.abc import Sequence

import numpy as np
from sklearn.metrics import confusion_matrix, multilabel_confusion_matrix

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
    truth, guess, numbers = labels, decided, range(len(classes))
    if labels.ndim == 2 and labels.shape[1] == 1:
        # scikit-learn would take 0 and 1 of the only class for two classes.
        truth, guess, numbers = labels[:, 0], decided[:, 0], range(1, 2)
    counts = multilabel_confusion_matrix(truth, guess, labels=numbers)
    tn, fp, fn, tp = counts.reshape(-1, 4).T
    images, predicted = tp + fn, tp + fp
    return [
        ClassResult(name, int(here), int(guessed), int(hit), *figures)
        for name, here, guessed, hit, *figures in zip(
            classes,
            images,
            predicted,
            tp,
            estimates(wilson(tp, predicted)),
            estimates(wilson(tp, images)),
            estimates(f1_interval(tp, images, predicted)),
            estimates(wilson(tp + tn, np.full_like(tp, len(labels)))),
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
    return np.asarray(confusion_matrix(labels, decided, labels=range(classes)))


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
