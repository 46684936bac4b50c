"""Small trainings, for the tests of training, launching and clusters."""

import csv
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import nn

from image_builders import CPU, MEAN, STD, noise
from imagepipe.config.recipe import Recipe
from imagepipe.interruption import StopRequest
from imagepipe.progress import counter
from imagepipe.training import checkpoint, loop
from imagepipe.training.build import Training, build_training
from imagepipe.training.history import EpochMetrics
from imagepipe.training.loop import TrainingResult, train, train_epoch
from imagepipe.training.saving import Checkpoints, Saver
from imagepipe.training.state import TrainingData, TrainingSpec

RECIPES = Path(__file__).parents[1] / "workflow" / "recipes"

LINEAR = {
    "optimizer": {"lr": 0.1, "nesterov": True},
    "schedule": {"name": "linear", "warmup": 0.25},
    "loss": {"label_smoothing": 0.1},
}
EVERYTHING = {
    "augmentation": {
        "random_resized_crop": {"resize": 10},
        "random_crop_padding": 1,
        "horizontal_flip": True,
        "color_jitter": {"brightness": 0.1, "contrast": 0.1, "saturation": 0.1, "hue": 0.02},
        "cutout": 2,
        "cutmix": 1.0,
    },
    "progressive_resizing": [{"until": 0.4, "scale": 0.75}],
    "averaging": {"name": "ema", "decay": 0.5, "every": 1},
    "test_time_augmentation": "flip",
} | LINEAR
# What is for classes of unequal frequency, and images that are enlarged to another shape.
UNEQUAL = {
    "image_size": [10, 12],
    "sampling": "balanced",
    "loss": {"label_smoothing": 0.1, "focal_gamma": 2, "class_weights": "balanced"},
    "augmentation": EVERYTHING["augmentation"],
    "test_time_augmentation": "flip_and_shift",
}
# With 36 training images in batches of 8.
STEPS_PER_EPOCH = 4
SOME_METRICS = EpochMetrics(1, 0.5, 0.8, 0.7, 0.1, 100.0, 2.0, "cpu", "fp32")


def complete_recipe(**sections: Any) -> Recipe:
    """Return a recipe with these sections; by default a tiny network in fp32."""
    small = {
        "model": {"name": "small_cnn", "width": 4},
        "batch_size": 8,
        "epochs": 3,
        "optimizer": {"lr": 0.02},
        "precision": "fp32",
    }
    return Recipe.checked(small | sections, "test")


def file_recipe(name: str) -> Recipe:
    """Return one of the workflow's own recipes."""
    return Recipe.checked(yaml.safe_load((RECIPES / f"{name}.yaml").read_text()), name)


def spec_of(recipe: Recipe, seed: int = 0, *, several_labels: bool = False) -> TrainingSpec:
    return TrainingSpec(recipe, seed, MEAN, STD, several_labels)


def colored(count: int, size: int = 8, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Return noisy images whose class, one of three, is their brightest color, and the classes."""
    labels = torch.arange(count) * 7 % 3
    images = noise(count, size, seed) // 4
    images[torch.arange(count), :, :, 2 - labels] += 128
    return images, labels


def training_data(train_images: int = 36, valid_images: int = 9) -> TrainingData:
    """Return images that are easy to tell apart, with training and validation rows mixed."""
    images, labels = colored(train_images + valid_images)
    rows = np.random.default_rng(1).permutation(len(images))
    train_rows, valid_rows = np.sort(rows[:train_images]), np.sort(rows[train_images:])
    return TrainingData(images.numpy(), labels.numpy(), train_rows, valid_rows, 3)


def several_labels_data(train_images: int = 36, valid_images: int = 9) -> TrainingData:
    """Return `training_data` of images with the label of each channel that is bright."""
    data = training_data(train_images, valid_images)
    rng = np.random.default_rng(2)
    labels = (rng.random((len(data.images), 3)) < [0.7, 0.5, 0.2]).astype(np.uint8)
    images = noise(len(labels)).numpy() // 4 + 128 * labels[:, None, None, ::-1]
    return replace(data, images=images.astype(np.uint8), labels=labels)


def all_images(count: int, size: int = 8) -> TrainingData:
    """Return data without validation images."""
    images, labels = colored(count, size)
    rows = np.arange(count)
    return TrainingData(images.numpy(), labels.numpy(), rows, rows[:0], 3)


def build(
    recipe: Recipe,
    data: TrainingData | None = None,
    *,
    precision: str = "fp32",
    device: torch.device = CPU,
) -> Training:
    data = data or training_data()
    spec = spec_of(recipe, several_labels=data.labels.ndim == 2)
    return build_training(data, spec, device, precision)


def train_in(
    folder: Path,
    recipe: Recipe,
    data: TrainingData | None = None,
    *,
    seed: int = 0,
    precision: str = "fp32",
    device: torch.device = CPU,
    fingerprint: str = "fingerprint",
    seconds_between: float = math.inf,
    events: Path | None = None,
) -> TrainingResult:
    """Train, with history.csv and the checkpoint in `folder`."""
    data = data or training_data()
    return train(
        data,
        spec_of(recipe, seed, several_labels=data.labels.ndim == 2),
        device,
        precision,
        folder / "history.csv",
        Checkpoints(folder / "checkpoint", fingerprint, seconds_between),
        events=events,
    )


_undisturbed: dict[tuple[str, str], TrainingResult] = {}


def undisturbed(recipe: Recipe, precision: str = "fp32") -> TrainingResult:
    """Return the result of a training that nothing interrupts; it is trained once for all tests."""
    key = (recipe.model_dump_json(), precision)
    if key not in _undisturbed:
        with TemporaryDirectory() as folder:
            _undisturbed[key] = train_in(Path(folder), recipe, precision=precision)
    return _undisturbed[key]


def train_one_epoch(training: Training) -> tuple[float, float]:
    """Train to the end of the epoch, without checkpoints, and begin the next one."""
    saver = Saver(training, Checkpoints(Path("nowhere"), ""), StopRequest())
    with counter(total=None, description="", unit="images") as bar:
        result = train_epoch(training, saver, bar)
    training.state.end_epoch(SOME_METRICS)
    return result


def one_epoch(
    data: TrainingData, recipe: Recipe, epoch: int = 0
) -> tuple[Training, list[torch.Tensor]]:
    """Train a new model for an epoch; return the training, and the batches that the model saw."""
    training = build(recipe, data)
    training.state.history.extend([SOME_METRICS] * epoch)
    batches: list[torch.Tensor] = []
    training.model.register_forward_pre_hook(lambda _, inputs: batches.append(inputs[0].clone()))
    train_one_epoch(training)
    return training, batches


class Killed(BaseException):
    """Stands for the end of the process."""


def die() -> None:
    raise Killed


class Steps:
    """Counts the steps of trainings, and calls a function before some of them."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self.before: dict[int, Callable[[], None]] = {}
        train_step = loop.train_step

        def counted(*args: Any) -> torch.Tensor:
            self.before.get(self.count, lambda: None)()
            self.count += 1
            return train_step(*args)

        patch.setattr(loop, "train_step", counted)


def die_after_saving(epoch: int, patch: pytest.MonkeyPatch) -> None:
    """Have trainings die after the checkpoint that follows an epoch."""
    save = checkpoint.save

    def save_and_die(folder: Path, state: dict[str, Any], fingerprint: str) -> None:
        save(folder, state, fingerprint)
        if len(state["history"]) == epoch:
            raise Killed

    patch.setattr(checkpoint, "save", save_and_die)


def assert_same_weights(one: nn.Module, other: nn.Module) -> None:
    """Assert that two models have the same weights and statistics, bit for bit."""
    assert one.state_dict().keys() == other.state_dict().keys()
    for name, tensor in one.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name]), name


def without_times(history: list[EpochMetrics]) -> list[EpochMetrics]:
    """Return a history without what no two runs share."""
    return [replace(epoch, seconds=0.0, examples_per_second=0.0) for epoch in history]


def assert_same_result(one: TrainingResult, other: TrainingResult) -> None:
    """Assert that two trainings had the same result, bit for bit."""
    assert_same_weights(one.model, other.model)
    assert without_times(one.history) == without_times(other.history)
    assert one.valid_logits is not None
    assert other.valid_logits is not None
    assert one.valid_logits.tobytes() == other.valid_logits.tobytes()


def read_history(folder: Path) -> list[dict[str, str]]:
    with (folder / "history.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
