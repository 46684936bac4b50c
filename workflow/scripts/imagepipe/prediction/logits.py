"""Logits on disk, with the id of each row and the class of each column."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.lib.npyio import NpzFile

from imagepipe.errors import UserError
from imagepipe.files import atomic_write


@dataclass(frozen=True)
class Predictions:
    """Logits float32 [N, classes], with the ids [N] of the rows and the classes of the columns.

    With `several_labels`, an image may have several classes, each with its own probability.
    """

    ids: np.ndarray
    logits: np.ndarray
    classes: np.ndarray
    several_labels: bool = False

    def probabilities(self) -> np.ndarray:
        """Return the classes' probabilities, float64 [N, classes]."""
        return class_probabilities(self.logits, several_labels=self.several_labels)


def class_probabilities(logits: np.ndarray, *, several_labels: bool) -> np.ndarray:
    """Return probabilities, float64 [N, classes], of logits [N, classes].

    They add up to 1, unless an image may have several labels.
    """
    if several_labels:
        return np.asarray(np.exp(-np.logaddexp(0, -logits.astype(np.float64))))
    exponentials = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))


def mean_probabilities(predictions: Sequence[Predictions]) -> np.ndarray:
    """Return the mean of several models' probabilities, float64 [N, classes].

    Raises ValueError if the models have predicted other images or other classes.
    """
    first = predictions[0]
    total = np.zeros(first.logits.shape, dtype=np.float64)
    for one in predictions:
        if not (
            np.array_equal(one.ids, first.ids)
            and np.array_equal(one.classes, first.classes)
            and one.several_labels == first.several_labels
        ):
            raise ValueError("the models have predicted other images or other classes")
        total += one.probabilities()
    return total / len(predictions)


def write_predictions(
    path: Path, predictions: Predictions, labels: np.ndarray | None = None
) -> None:
    """Write an .npz file of ids, logits and classes, and the labels if they are known.

    labels: int [N], positions of classes, or 0 and 1 [N, classes] with several labels. The same
    content gives the same bytes. Raises `UserError` if a logit is not finite, and ValueError if an
    id has not exactly one row.
    """
    ids, logits = predictions.ids, predictions.logits
    if logits.shape != (len(ids), len(predictions.classes)) or len(set(ids)) != len(ids):
        raise ValueError(f"{logits.shape} logits for {len(ids)} ids")
    if not np.isfinite(logits).all():
        raise UserError(
            f"{path}: the model gives logits that are not finite; train it with a lower lr, "
            "or with precision fp32"
        )
    arrays = {
        "ids": ids.astype(np.str_),
        "logits": logits.astype(np.float32),
        "classes": predictions.classes.astype(np.str_),
    }
    if predictions.several_labels:
        arrays["several_labels"] = np.array(True)
    if labels is not None:
        arrays["labels"] = labels.astype(np.int64)
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def read_predictions(path: Path) -> Predictions:
    """Read a file that `write_predictions` wrote, without unpickling anything."""
    with _opened(path) as file:
        return _predictions(file)


def read_labelled_predictions(path: Path) -> tuple[Predictions, np.ndarray]:
    """Read the predictions and the labels (see `write_predictions`) of validation images."""
    with _opened(path) as file:
        return _predictions(file), file["labels"]


@contextmanager
def _opened(path: Path) -> Iterator[NpzFile]:
    try:
        with path.open("rb") as stream, NpzFile(stream, allow_pickle=False) as file:
            yield file
    except (OSError, EOFError, ValueError, KeyError, NotImplementedError, BadZipFile) as error:
        raise UserError(f"{path}: cannot be read ({error}); predict again") from None


def _predictions(file: NpzFile) -> Predictions:
    several = "several_labels" in file and bool(file["several_labels"])
    return Predictions(file["ids"], file["logits"], file["classes"], several)
