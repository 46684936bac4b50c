"""One training from files to files: what the rules `train` and `retrain` have in common."""

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from imagepipe import checkpoint
from imagepipe.device import check_gpus, choose_precision, chosen_device, device_name
from imagepipe.errors import UserError
from imagepipe.files import digest, write_text
from imagepipe.history import write_metrics
from imagepipe.logits import Predictions, write_predictions
from imagepipe.memory import full_memory_message, largest_that_fits, memory_is_full
from imagepipe.model_files import ModelDescription, save_model
from imagepipe.models import LIBRARIES, SMALLEST_IMAGE
from imagepipe.named_models import check_library_model
from imagepipe.packed_images import PackedImages, read_classes, read_packed, read_split
from imagepipe.processes import ALONE, Processes
from imagepipe.saving import Checkpoints
from imagepipe.training import Trained, train, try_steps
from imagepipe.training_state import TrainingData, fitting_batch_size

logger = logging.getLogger(__name__)

# Of a split's hash in a run's settings: enough to tell two runs' splits apart.
SPLIT_DIGITS = 12


@dataclass(frozen=True)
class Inputs:
    """The packed images, the table that tells their rows, the names of the classes, and the split.

    Without `split`, which `splitting.write_split` writes, the training is on all labelled images.
    """

    images: Path
    table: Path
    classes: Path
    split: Path | None = None


@dataclass(frozen=True)
class Outputs:
    """Where a training's results go; `valid_logits` is None where nothing is held out.

    `settings` gets what the training was: its run, seed, recipe and split.
    """

    model: Path
    history: Path
    metrics: Path
    settings: Path
    valid_logits: Path | None = None


@dataclass(frozen=True)
class Machine:
    """What a training runs on, which its options say nothing of.

    `device` is the option of that name, `gpus` the number that the job may use on all its nodes,
    `threads` that of a node's CPU; a checkpoint is written at least every `checkpoint_minutes`. One
    training is shared by `processes_per_node` processes on each of `nodes` nodes.
    """

    device: str
    gpus: int
    threads: int
    checkpoint_minutes: float
    processes_per_node: int = 1
    nodes: int = 1


@dataclass(frozen=True)
class Run:
    """One training, from files to files.

    `name` is that of the run, and `options` has the keys `recipe`, `seed`, `channel_means` and
    `channel_deviations`. An interrupted training is carried on if the options, the data and the
    `code` (a hash of it) are the same.
    """

    name: str
    inputs: Inputs
    outputs: Outputs
    options: dict[str, Any]
    code: str
    checkpoint_folder: Path
    machine: Machine


def train_run(run: Run, processes: Processes = ALONE) -> None:
    """Train one model, and write it with its history, metrics and validation logits.

    Raises `UserError` for options that do not suit the images, a loss that is not finite, and a
    batch that does not fit into the memory. With several processes, each calls it, and the first
    one writes.
    """
    inputs, outputs, options, machine = run.inputs, run.outputs, run.options, run.machine
    threads = max(1, machine.threads // machine.processes_per_node)
    torch.set_num_threads(threads)
    recipe = options["recipe"]
    classes = read_classes(inputs.classes)
    packed = read_packed(inputs.images, inputs.table)
    check_recipe(recipe, packed.images.shape[1], len(classes))
    splits = read_split(inputs.split, packed.table["id"]) if inputs.split else None
    data = training_data(packed, classes, options, splits)
    if inputs.split and len(data.valid_rows) == 0:
        raise UserError(f"{inputs.split}: has no image of the split valid; run split again")
    files = (inputs.images, inputs.table, *([inputs.split] if inputs.split else []))
    fingerprint = "\0".join((json.dumps(options, sort_keys=True), run.code, *map(digest, files)))
    checkpoints = Checkpoints(
        run.checkpoint_folder,
        hashlib.sha256(fingerprint.encode()).hexdigest(),
        60 * machine.checkpoint_minutes,
    )
    with chosen_device(machine.device, machine.gpus) as device:
        check_gpus(device, machine.processes_per_node, machine.gpus // machine.nodes)
        # One for all: what is measured on several busy nodes may differ.
        precision, reason = processes.of_first(
            partial(choose_precision, recipe["precision"], device)
        )
        logger.info(
            "train on %s in %s (%s), %d threads%s",
            *(device_name(device), precision, reason, threads),
            f" in each of {processes.count} processes" if processes.count > 1 else "",
        )
        trained = train_or_explain(
            data, options, device, precision, outputs.history, checkpoints, processes
        )
    if not processes.is_first:
        return
    if outputs.valid_logits is not None and trained.valid_logits is not None:
        ids = packed.table["id"].to_numpy()[data.valid_rows]
        write_predictions(
            outputs.valid_logits,
            Predictions(ids, trained.valid_logits, np.array(classes)),
            data.labels[data.valid_rows],
        )
    description = ModelDescription(
        model=recipe["model"],
        classes=list(classes),
        image_size=packed.images.shape[1],
        channel_means=options["channel_means"],
        channel_deviations=options["channel_deviations"],
        test_time_augmentation=recipe["test_time_augmentation"],
    )
    save_model(outputs.model, trained.model, description)
    split = digest(inputs.split)[:SPLIT_DIGITS] if inputs.split else None
    settings = {"run": run.name, "split": split} | options
    write_text(outputs.settings, yaml.safe_dump(settings, sort_keys=False, allow_unicode=True))
    write_metrics(outputs.metrics, trained.metrics())
    checkpoint.remove(run.checkpoint_folder)


def check_recipe(recipe: dict[str, Any], image_size: int, classes: int) -> None:
    """Raise `UserError` if a recipe does not suit images of that size, or itself."""
    augmentation = recipe["augmentation"]
    if augmentation["mixup"] and augmentation["cutmix"]:
        raise UserError("recipe: augmentation: has mixup and cutmix; set one of them to 0")
    scales = [stage["scale"] for stage in recipe["progressive_resizing"]]
    smallest = round(image_size * min([1.0, *scales]))
    if recipe["model"]["name"] == "airbench" and smallest < SMALLEST_IMAGE:
        raise UserError(
            f"recipe: model: airbench needs images of {SMALLEST_IMAGE} pixels at least, and gets "
            f"some of {smallest}; take another model, or leave progressive_resizing out"
        )
    if recipe["model"]["name"] in LIBRARIES:
        check_library_model(
            recipe["model"]["name"], recipe["model"]["architecture"], classes, smallest
        )
    for key, largest in (("random_crop_padding", image_size - 1), ("cutout", image_size)):
        if augmentation[key] > largest:
            raise UserError(
                f"recipe: augmentation.{key}: is {augmentation[key]}, but must be at most "
                f"{largest} for images of {image_size} pixels"
            )


def training_data(
    packed: PackedImages,
    classes: Sequence[str],
    options: dict[str, Any],
    splits: Sequence[str] | None = None,
) -> TrainingData:
    """Return the data of a training: on the images of the split "train", or without splits on all.

    `splits` has "train" or "valid" for each row of `packed`.
    """
    valid = np.array([split == "valid" for split in splits or [""] * len(packed.images)])
    numbers = {name: number for number, name in enumerate(classes)}
    return TrainingData(
        images=packed.images,
        labels=packed.table["label"].map(numbers).to_numpy(dtype=np.int64),
        train_rows=np.flatnonzero(~valid),
        valid_rows=np.flatnonzero(valid),
        num_classes=len(classes),
        channel_means=options["channel_means"],
        channel_deviations=options["channel_deviations"],
    )


def train_or_explain(
    data: TrainingData,
    options: dict[str, Any],
    device: torch.device,
    precision: str,
    history: Path,
    checkpoints: Checkpoints,
    processes: Processes,
) -> Trained:
    """Train; raise `UserError` for those errors of PyTorch that the recipe can avoid."""
    recipe, seed = options["recipe"], options["seed"]
    try:
        return train(data, recipe, seed, device, precision, history, checkpoints, processes)
    except RuntimeError as error:
        if not memory_is_full(error):
            explain(error, recipe)
            raise
    batch_size = fitting_batch_size(recipe, len(data.train_rows))
    if processes.count > 1:
        raise UserError(
            f"the memory of {device_name(device)} is full at a batch size of {batch_size} over "
            f"{processes.count} processes; make batch_size smaller, or take more GPUs"
        )
    name = "batch_size" if recipe["micro_batch_size"] is None else "micro_batch_size"
    fits = largest_that_fits(
        lambda size: try_steps(data, recipe | {name: size}, seed, device, precision),
        min(batch_size, recipe[name]),
    )
    key = f"override='{{{{{name}: {{}}}}}}'"
    raise UserError(full_memory_message(device_name(device), key, batch_size, fits))


def explain(error: RuntimeError, recipe: dict[str, Any]) -> None:
    """Raise `UserError` for an error that comes from an option of the recipe, else do nothing."""
    detail = " ".join(str(error).split())[:200]
    of_compiler = type(error).__module__.startswith(("torch._dynamo", "torch._inductor"))
    if recipe["compile"] and of_compiler:
        raise UserError(
            f"compile: PyTorch could not compile the network ({detail}); set compile: false"
        ) from None
    if recipe["deterministic"] and "deterministic" in detail:
        raise UserError(f"deterministic: {detail}; set deterministic: false") from None
