"""One training from files to files, for the rules `train` and `retrain`."""

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
import yaml

from imagepipe.config.recipe import Recipe, Timm, Torchvision
from imagepipe.config.recipe_checks import check_images, smallest_image
from imagepipe.dataset import channels
from imagepipe.dataset.manifests import CLASS_SEPARATOR
from imagepipe.dataset.packed import PackedImages, read_classes, read_packed, read_split
from imagepipe.dataset.submission_form import read_metric
from imagepipe.device.cpu_precision import NetworkUse
from imagepipe.device.devices import check_gpus, choose_precision, chosen_device, device_name
from imagepipe.device.memory import full_memory_message, largest_that_fits, memory_is_full
from imagepipe.distributed.process_group import SINGLE_PROCESS, ProcessGroup
from imagepipe.errors import UserError
from imagepipe.files import file_hash, write_text
from imagepipe.models.model_files import ModelDescription, save_model
from imagepipe.models.torchvision_timm import check_library_model
from imagepipe.prediction.features import read_embeddings
from imagepipe.prediction.logits import Predictions, write_predictions
from imagepipe.training import checkpoint
from imagepipe.training.build import network_image_size
from imagepipe.training.heads import HEAD_PRECISION, train_head
from imagepipe.training.history import write_metrics
from imagepipe.training.loop import train, try_steps
from imagepipe.training.saving import Checkpoints
from imagepipe.training.schedule import TrainingSchedule
from imagepipe.training.state import TrainingData, TrainingSpec

logger = logging.getLogger(__name__)

# A channel that is the same in all pixels has no deviation to divide by.
MIN_STD = 1 / 255
# Of a split's hash in run.yaml: enough to tell the splits of two runs apart.
SPLIT_DIGITS = 12


@dataclass(frozen=True)
class TrainingInputs:
    """The packed images, the table of their rows, the classes, the split and the metric.

    Without `split` (see `splitting.write_split`), all labelled images are trained on. `metric` is
    that of the validation, beside the accuracy. `weights` are the pretrained ones from which the
    recipe's network starts, or on whose features (`embeddings`, of all images) it trains a head.
    """

    images: Path
    table: Path
    classes: Path
    split: Path | None = None
    metric: Path | None = None
    weights: Path | None = None
    embeddings: Path | None = None


@dataclass(frozen=True)
class TrainingOutputs:
    """Where a training's results go; `settings` gets its run, split, recipe, seed, mean and std.

    `valid_logits` is None without a split, `events`, a folder, without TensorBoard's event files.
    """

    model: Path
    history: Path
    metrics: Path
    settings: Path
    valid_logits: Path | None = None
    events: Path | None = None


@dataclass(frozen=True)
class Machine:
    """What a training runs on.

    device: the setting of that name. gpus: the job's GPUs on all its nodes. threads: the CPU
    threads of each node. A checkpoint is written at least every `checkpoint_minutes`.
    """

    device: str
    gpus: int
    threads: int
    checkpoint_minutes: float
    processes_per_node: int = 1
    nodes: int = 1

    @property
    def num_processes(self) -> int:
        return self.nodes * self.processes_per_node


@dataclass(frozen=True)
class Run:
    """One training from files to files; `name` is the run's.

    An interrupted training is resumed if its spec, its data and its `code` (a hash) are the same.
    """

    name: str
    inputs: TrainingInputs
    outputs: TrainingOutputs
    spec: TrainingSpec
    code: str
    checkpoint_folder: Path
    machine: Machine


def train_run(run: Run, group: ProcessGroup = SINGLE_PROCESS) -> None:
    """Train one model, and write it with its history, metrics and validation logits.

    `recipe_checks.check_recipe` must have accepted the recipe. Raises `UserError` for a network
    that does not suit the images, a loss that is not finite, and a batch that does not fit into
    memory. In a group of several processes, each calls this function, and the first one writes.
    """
    inputs, outputs, spec, machine = run.inputs, run.outputs, run.spec, run.machine
    recipe = spec.recipe
    threads = max(1, machine.threads // machine.processes_per_node)
    torch.set_num_threads(threads)
    classes = read_classes(inputs.classes)
    packed = read_packed(inputs.images, inputs.table)
    stored_size = list(packed.images.shape[1:3])
    image_size = list(network_image_size(recipe, stored_size))
    check_images(recipe, image_size, stored_size)
    if isinstance(recipe.model, Torchvision | Timm):
        smallest = smallest_image(recipe, image_size)
        check_library_model(recipe.model, len(classes), image_size, smallest)
    splits = read_split(inputs.split, packed.ids) if inputs.split else None
    data = training_data(packed, classes, splits, several_labels=spec.several_labels)
    data = replace(data, weights=inputs.weights)
    if inputs.metric:
        data = replace(data, metric=read_metric(inputs.metric))
    if inputs.split and len(data.valid_rows) == 0:
        raise UserError(f"{inputs.split}: has no image of the split valid; run split again")
    minutes = machine.checkpoint_minutes
    checkpoints = Checkpoints(run.checkpoint_folder, fingerprint(run), 60 * minutes)
    with chosen_device(machine.device, machine.gpus) as device:
        check_gpus(device, machine.processes_per_node)
        if inputs.embeddings:
            precision, reason = HEAD_PRECISION, "as all heads"
        else:
            # One choice for all processes: busy nodes may measure different speeds.
            use = NetworkUse.from_model(recipe.model, image_size, training=True)
            choose = partial(choose_precision, recipe.precision, device, use)
            precision, reason = group.from_first(choose)
        logger.info(
            "train on %s in %s (%s), %d threads%s",
            *(device_name(device), precision, reason, threads),
            f" in each of {group.world_size} processes" if group.world_size > 1 else "",
        )
        result = None
        try:
            if inputs.embeddings:
                features = read_embeddings(inputs.embeddings, len(packed.ids))
                result = train_head(
                    data, features, spec, device, outputs.history, outputs.events, image_size
                )
            else:
                result = train(
                    *(data, spec, device, precision, outputs.history, checkpoints, group),
                    outputs.events,
                )
        except (RuntimeError, ValueError) as error:
            if not memory_is_full(error):
                raise recipe_error(error, recipe) from None
        # Outside of `except`, whose error keeps the full memory alive.
        if result is None and inputs.embeddings:
            raise UserError(
                f"the memory of {device_name(device)} is full: it does not hold the features of "
                "the images; set device=cpu"
            )
        if result is None:
            raise UserError(memory_advice(data, spec, device, precision, group))
    if not group.is_first:
        return
    if outputs.valid_logits is not None and result.valid_logits is not None:
        ids = np.array(packed.ids)[data.valid_rows]
        predictions = Predictions(ids, result.valid_logits, np.array(classes), spec.several_labels)
        write_predictions(outputs.valid_logits, predictions, data.labels[data.valid_rows])
    description = ModelDescription(
        model=recipe.model,
        classes=list(classes),
        several_labels=spec.several_labels,
        stored_size=stored_size,
        fit=recipe.fit,
        image_size=image_size,
        mean=spec.mean,
        std=spec.std,
        test_time_augmentation=recipe.test_time_augmentation,
        interpolation=spec.interpolation,
    )
    save_model(outputs.model, result.model, description)
    split = file_hash(inputs.split)[:SPLIT_DIGITS] if inputs.split else None
    settings = {"run": run.name, "split": split} | spec.to_dict()
    write_text(outputs.settings, yaml.safe_dump(settings, sort_keys=False, allow_unicode=True))
    write_metrics(outputs.metrics, result.history, len(data.valid_rows))
    checkpoint.remove(run.checkpoint_folder)


def read_spec(settings: Path) -> TrainingSpec:
    """Return what a training was asked for, by its run.yaml.

    Raises `UserError` if another version wrote it.
    """
    try:
        values = yaml.safe_load(settings.read_text(encoding="utf-8"))
        recipe = Recipe.model_validate(values["recipe"])
        names = ("seed", "mean", "std", "several_labels", "interpolation")
        others = {key: values[key] for key in names}
    except (yaml.YAMLError, LookupError, TypeError, ValueError):
        raise UserError(f"{settings}: cannot be read; remove it, and call again") from None
    return TrainingSpec(recipe, **others)


def read_channels(path: Path) -> dict[str, list[float]]:
    """Return `mean` and `std` of the channels in 0…1, as rule `pack` measured them."""
    measured = channels.read_channels(path)
    return {"mean": measured.mean, "std": [max(MIN_STD, std) for std in measured.std]}


def fingerprint(run: Run) -> str:
    """Return a hash of all that decides the weights of a run, and what its history says."""
    inputs = run.inputs
    files = [inputs.images, inputs.table]
    files += filter(None, (inputs.split, inputs.metric, inputs.weights, inputs.embeddings))
    parts = [json.dumps(run.spec.to_dict(), sort_keys=True), run.code, *map(file_hash, files)]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def training_data(
    packed: PackedImages,
    classes: Sequence[str],
    splits: Sequence[str] | None = None,
    *,
    several_labels: bool = False,
) -> TrainingData:
    """Return the data of a training; `splits` has "train" or "valid" for each image.

    Without `splits`, all images are trained on. With `several_labels`, an image's label is the
    names of its classes, separated by "|", or nothing.
    """
    is_valid = np.array([split == "valid" for split in splits or [""] * len(packed.images)])
    number_of = {name: number for number, name in enumerate(classes)}
    if several_labels:
        labels = np.zeros((len(packed.images), len(classes)), dtype=np.uint8)
        for row, label in enumerate(packed.labels):
            for name in filter(None, label.split(CLASS_SEPARATOR)):
                labels[row, number_of[name]] = 1
    else:
        labels = np.array([number_of[label] for label in packed.labels], dtype=np.int64)
    return TrainingData(
        images=packed.images,
        labels=labels,
        train_rows=np.flatnonzero(~is_valid),
        valid_rows=np.flatnonzero(is_valid),
        num_classes=len(classes),
        classes=classes,
    )


def memory_advice(
    data: TrainingData,
    spec: TrainingSpec,
    device: torch.device,
    precision: str,
    group: ProcessGroup,
) -> str:
    """Return what to change in the recipe so that a training fits into the memory."""
    recipe = spec.recipe
    batch_size = TrainingSchedule(recipe, len(data.train_rows)).batch_size
    if group.world_size > 1:
        return (
            f"the memory of {device_name(device)} is full at a batch size of {batch_size} over "
            f"{group.world_size} processes; make batch_size smaller, or take more GPUs"
        )
    key, size = "batch_size", recipe.batch_size
    if recipe.micro_batch_size is not None:
        key, size = "micro_batch_size", recipe.micro_batch_size

    def attempt(size: int) -> None:
        smaller = replace(spec, recipe=recipe.model_copy(update={key: size}))
        try_steps(data, smaller, device, precision)

    fits = largest_that_fits(attempt, min(batch_size, size))
    setting = f"override='{{{{{key}: {{}}}}}}'"
    return full_memory_message(device_name(device), setting, batch_size, fits)


def recipe_error(error: Exception, recipe: Recipe) -> Exception:
    """Return a `UserError` for an error of PyTorch that another recipe avoids, else the error."""
    detail = " ".join(str(error).split())[:200]
    from_compiler = type(error).__module__.startswith(("torch._dynamo", "torch._inductor"))
    if recipe.compile and from_compiler:
        return UserError(
            f"compile: PyTorch could not compile the network ({detail}); set compile: false"
        )
    if recipe.deterministic and "deterministic" in detail:
        return UserError(f"deterministic: {detail}; set deterministic: false")
    if "Expected more than 1 value per channel" in detail:
        return UserError(
            "recipe: batch_size: a batch, or a chunk of one, has a single image, from which batch "
            "normalization cannot learn; change batch_size or micro_batch_size, or set drop_last: "
            "true"
        )
    return error
