"""One training from files to files: what the rules `train` and `retrain` have in common."""

import hashlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from imagepipe import checkpoint
from imagepipe.device import choose_device, choose_precision, device_name
from imagepipe.errors import UserError
from imagepipe.files import digest
from imagepipe.logits import Predictions, write_predictions
from imagepipe.model_files import ModelDescription, save_model
from imagepipe.packed_images import read_classes, read_packed
from imagepipe.training import TrainingData, train, write_metrics

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Inputs:
    """The packed images, the table that tells their rows, and the names of the classes."""

    images: Path
    table: Path
    classes: Path


@dataclass(frozen=True)
class Outputs:
    """Where a training's results go; `valid_logits` is None where nothing is held out."""

    model: Path
    history: Path
    metrics: Path
    valid_logits: Path | None


def train_run(
    inputs: Inputs,
    outputs: Outputs,
    options: dict[str, Any],
    code: str,
    checkpoint_folder: Path,
    device_option: str,
    threads: int,
) -> None:
    """Train one model, and write it with its history, metrics and validation logits.

    `options` has the keys `recipe`, `seed`, `channel_means` and `channel_deviations`. Without
    `outputs.valid_logits`, the validation images are trained on as well. An interrupted training
    is carried on if the options, the data and the `code` (a hash of it) are the same.
    """
    torch.set_num_threads(threads)
    device = choose_device(device_option)
    precision = choose_precision(options["recipe"]["precision"], device)
    logger.info("train on %s in %s, %d threads", device_name(device), precision, threads)

    classes = read_classes(inputs.classes)
    packed = read_packed(inputs.images, inputs.table)
    labels = np.array([classes.index(label) for label in packed.table["label"]], dtype=np.int64)
    valid = (packed.table["split"] == "valid").to_numpy()
    if outputs.valid_logits is None:
        valid = np.zeros_like(valid)
    elif not valid.any():
        raise UserError(f"{inputs.table}: has no image of the split valid; run split again")
    padding = options["recipe"]["augmentation"]["random_crop_padding"]
    if padding >= packed.images.shape[1]:
        raise UserError(
            f"recipe: augmentation.random_crop_padding: is {padding}, but must be less than the "
            f"images' size, {packed.images.shape[1]}"
        )
    data = TrainingData(
        # A copy, as a memory map would be read from the disk again in every epoch.
        images=torch.from_numpy(np.array(packed.images)),
        labels=torch.from_numpy(labels),
        train_rows=torch.from_numpy(np.flatnonzero(~valid)),
        valid_rows=torch.from_numpy(np.flatnonzero(valid)),
        num_classes=len(classes),
        channel_means=options["channel_means"],
        channel_deviations=options["channel_deviations"],
    )
    fingerprint = "\0".join(
        (json.dumps(options, sort_keys=True), code, digest(inputs.images), digest(inputs.table))
    )
    trained = train(
        data,
        options["recipe"],
        options["seed"],
        device,
        precision,
        outputs.history,
        checkpoint_folder,
        hashlib.sha256(fingerprint.encode()).hexdigest(),
    )
    if outputs.valid_logits is not None and trained.valid_logits is not None:
        ids = packed.table["id"].to_numpy()[valid]
        write_predictions(
            outputs.valid_logits,
            Predictions(ids, trained.valid_logits, np.array(classes)),
            labels[valid],
        )
    description = ModelDescription(
        model=options["recipe"]["model"],
        classes=list(classes),
        image_size=packed.images.shape[1],
        channel_means=options["channel_means"],
        channel_deviations=options["channel_deviations"],
        test_time_augmentation=options["recipe"]["test_time_augmentation"],
    )
    save_model(outputs.model, trained.model, description)
    write_metrics(outputs.metrics, trained.metrics())
    checkpoint.remove(checkpoint_folder)
