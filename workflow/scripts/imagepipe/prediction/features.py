"""The features that rule `embed` wrote, and what heads make of them."""

import itertools
import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from imagepipe.device.devices import chosen_device, device_name
from imagepipe.errors import UserError
from imagepipe.files import read_rows
from imagepipe.models.frozen_features import FrozenWithHead, head_logits
from imagepipe.models.model_files import load_model
from imagepipe.prediction.logits import Predictions, write_predictions

logger = logging.getLogger(__name__)

# Rows of features that go through a head at once.
CHUNK_ROWS = 500


def check_finite(features: Tensor) -> None:
    """Raise `UserError` if a feature is not finite."""
    if not features.isfinite().all():
        raise UserError(
            "the network gives features that are not finite; set override='{precision: fp32}', or "
            "take other weights"
        )


def read_embeddings(path: Path, count: int) -> np.ndarray:
    """Map the features of `count` images, float32 [N, D], into memory.

    Raises `UserError` if the file cannot be read, or does not belong to the images.
    """
    try:
        features: np.ndarray = np.load(path, mmap_mode="c", allow_pickle=False)
    except (OSError, EOFError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}); run with --forcerun embed") from None
    if features.dtype != np.float32 or features.ndim != 2 or len(features) != count:
        raise UserError(f"{path}: does not belong to the images; run with --forcerun embed")
    return features


def predict_embeddings(
    model_file: Path,
    embeddings: Path,
    table: Path,
    target: Path,
    *,
    device: str,
    gpus: int,
    threads: int,
) -> None:
    """Write the logits of the images of a table, with their ids, by a head on their features.

    They are those that the model gives for the images, up to rounding. Raises `UserError` if the
    features are not those of the table's images.
    """
    torch.set_num_threads(threads)
    model, description = load_model(model_file)
    assert isinstance(model, FrozenWithHead)
    ids = np.array([image_id for _, (image_id,) in read_rows(table, ("id",))])
    features = read_embeddings(embeddings, len(ids))
    with chosen_device(device, gpus) as chosen:
        logger.info("predict on %s, from the features of the images", device_name(chosen))
        logits = head_logits_in_chunks(model.head.to(chosen), features).numpy()
    classes = np.array(description.classes)
    write_predictions(target, Predictions(ids, logits, classes, description.several_labels))


@torch.inference_mode()
def head_logits_in_chunks(
    head: nn.Module, features: np.ndarray, rows: np.ndarray | None = None
) -> Tensor:
    """Return a head's logits, float32 [N, classes] on the CPU, of features [N, D].

    rows: int64, those to take; None takes all.
    """
    device = next(itertools.chain(head.parameters(), head.buffers())).device
    logits = []
    for chunk in feature_chunks(len(features if rows is None else rows)):
        taken = features[chunk if rows is None else rows[chunk]]
        logits.append(head_logits(head, torch.from_numpy(taken).to(device)).cpu())
    return torch.cat(logits)


def feature_chunks(count: int) -> Iterator[slice]:
    """Yield slices of some of `count` rows at a time."""
    for first in range(0, count, CHUNK_ROWS):
        yield slice(first, min(first + CHUNK_ROWS, count))
