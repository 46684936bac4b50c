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

from imagepipe.config.architectures import LIBRARIES
from imagepipe.config.recipe_checks import smallest_image
from imagepipe.dataset.packed import PackedImages, read_classes, read_packed, read_split
from imagepipe.device.devices import check_gpus, choose_precision, chosen_device, device_name
from imagepipe.device.memory import full_memory_message, largest_that_fits, memory_is_full
from imagepipe.distributed.processes import ALONE, Processes
from imagepipe.errors import UserError
from imagepipe.files import file_hash, write_text
from imagepipe.models.library_models import check_library_model
from imagepipe.models.model_files import ModelDescription, save_model
from imagepipe.prediction.logits import Predictions, write_predictions
from imagepipe.training import checkpoint
from imagepipe.training.history import write_metrics
from imagepipe.training.loop import Trained, train, try_steps
from imagepipe.training.saving import Checkpoints
from imagepipe.training.state import TrainingData, fitting_batch_size

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

    The recipe is one that `recipe_checks.check_recipe` accepts. Raises `UserError` for a network
    that does not suit the images, a loss that is not finite, and a batch that does not fit into the
    memory. With several processes, each calls it, and the first one writes.
    """
    inputs, outputs, options, machine = run.inputs, run.outputs, run.options, run.machine
    threads = max(1, machine.threads // machine.processes_per_node)
    torch.set_num_threads(threads)
    recipe = options["recipe"]
    classes = read_classes(inputs.classes)
    packed = read_packed(inputs.images, inputs.table)
    name, architecture = recipe["model"]["name"], recipe["model"]["architecture"]
    if name in LIBRARIES:
        smallest = smallest_image(recipe, packed.images.shape[1])
        check_library_model(name, architecture, len(classes), smallest)
    splits = read_split(inputs.split, packed.ids) if inputs.split else None
    data = training_data(packed, classes, options, splits)
    if inputs.split and len(data.valid_rows) == 0:
        raise UserError(f"{inputs.split}: has no image of the split valid; run split again")
    files = (inputs.images, inputs.table, *([inputs.split] if inputs.split else []))
    fingerprint = "\0".join((json.dumps(options, sort_keys=True), run.code, *map(file_hash, files)))
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
        ids = np.array(packed.ids)[data.valid_rows]
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
    split = file_hash(inputs.split)[:SPLIT_DIGITS] if inputs.split else None
    settings = {"run": run.name, "split": split} | options
    write_text(outputs.settings, yaml.safe_dump(settings, sort_keys=False, allow_unicode=True))
    write_metrics(outputs.metrics, trained.metrics())
    checkpoint.remove(run.checkpoint_folder)


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
        labels=np.array([numbers[label] for label in packed.labels], dtype=np.int64),
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
    except (RuntimeError, ValueError) as error:
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


def explain(error: Exception, recipe: dict[str, Any]) -> None:
    """Raise `UserError` for an error that comes from an option of the recipe, else do nothing."""
    detail = " ".join(str(error).split())[:200]
    of_compiler = type(error).__module__.startswith(("torch._dynamo", "torch._inductor"))
    if recipe["compile"] and of_compiler:
        raise UserError(
            f"compile: PyTorch could not compile the network ({detail}); set compile: false"
        ) from None
    if recipe["deterministic"] and "deterministic" in detail:
        raise UserError(f"deterministic: {detail}; set deterministic: false") from None
    if "Expected more than 1 value per channel" in detail:
        raise UserError(
            "recipe: batch_size: a batch, or a part of one, has a single image, from which batch "
            "normalisation cannot learn; change batch_size or micro_batch_size, or set drop_last: "
            "true"
        ) from None
