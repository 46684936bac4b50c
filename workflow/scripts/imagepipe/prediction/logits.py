"""Logits on disk, with the id of each row and the class of each column."""

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

    several_labels: an image may have several classes, so that each has a probability of its own.
    """

    ids: np.ndarray
    logits: np.ndarray
    classes: np.ndarray
    several_labels: bool = False

    @property
    def probabilities(self) -> np.ndarray:
        """The probabilities, float64 [N, classes]."""
        return probabilities_from_logits(self.logits, several_labels=self.several_labels)


def probabilities_from_logits(logits: np.ndarray, *, several_labels: bool) -> np.ndarray:
    """Return probabilities, float64 [N, classes], of logits [N, classes]: softmax, or sigmoid."""
    exact = logits.astype(np.float64)
    if several_labels:
        # exp of a negative number only, which cannot overflow.
        small = np.exp(-np.abs(exact))
        return np.where(exact >= 0, 1, small) / (1 + small)
    exponentials = np.exp(exact - exact.max(axis=1, keepdims=True))
    probabilities: np.ndarray = exponentials / exponentials.sum(axis=1, keepdims=True)
    return probabilities


def write_predictions(
    path: Path, predictions: Predictions, labels: np.ndarray | None = None
) -> None:
    """Write an .npz file of ids, logits and classes, and labels int64 [N] if they are known.

    With several labels, those are [N, classes] of 0 and 1, and the file says so.

    The same content gives the same bytes. Raises `UserError` if a logit is not finite, and
    ValueError if an id has not exactly one row.
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
    try:
        with path.open("rb") as stream, NpzFile(stream, allow_pickle=False) as file:
            several_labels = "several_labels" in file
            return Predictions(file["ids"], file["logits"], file["classes"], several_labels)
    except (OSError, EOFError, ValueError, KeyError, NotImplementedError, BadZipFile) as error:
        raise UserError(f"{path}: cannot be read ({error}); predict again") from None
