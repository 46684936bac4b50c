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
    """Logits float32 [N, classes], with the ids [N] of the rows and the classes of the columns."""

    ids: np.ndarray
    logits: np.ndarray
    classes: np.ndarray


def write_predictions(
    path: Path, predictions: Predictions, labels: np.ndarray | None = None
) -> None:
    """Write an .npz file of ids, logits and classes, and labels int64 [N] if they are known.

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
    if labels is not None:
        arrays["labels"] = labels.astype(np.int64)
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def read_predictions(path: Path) -> Predictions:
    """Read a file that `write_predictions` wrote, without unpickling anything."""
    try:
        with path.open("rb") as stream, NpzFile(stream, allow_pickle=False) as file:
            return Predictions(file["ids"], file["logits"], file["classes"])
    except (OSError, EOFError, ValueError, KeyError, NotImplementedError, BadZipFile) as error:
        raise UserError(f"{path}: cannot be read ({error}); predict again") from None
