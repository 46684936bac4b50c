"""The training engine: it learns, it repeats itself exactly, and it survives interruptions."""

import csv
import io
import json
import logging
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from imagepipe import progress
from imagepipe.augmentation.normalize import Standardisation
from imagepipe.augmentation.randomness import generator
from imagepipe.config.recipe_checks import SMALLEST_IMAGE
from imagepipe.device import devices as device_module
from imagepipe.errors import Stopped, UserError
from imagepipe.interruption import StopRequest
from imagepipe.prediction.predict import predict_logits
from imagepipe.progress import counter
from imagepipe.training import checkpoint, saving
from imagepipe.training import loop as training
from imagepipe.training import state as training_state
from imagepipe.training.history import write_metrics
from imagepipe.training.loop import Look, Trained, train_epoch, try_steps
from imagepipe.training.saving import Checkpoints, Saver
from imagepipe.training.state import Training, TrainingData, begin
from training_builders import (
    CPU,
    DEVIATIONS,
    MEANS,
    assert_same_weights,
    coloured,
    complete_recipe,
    noise,
    train_in,
    training_data,
    without_times,
)

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


@pytest.fixture(autouse=True)
def checkpoints_after_every_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    """However short an epoch of a few images is."""
    monkeypatch.setattr(saving, "CHECKPOINT_SHARE", math.inf)


def all_images(count: int) -> TrainingData:
    """Return data of which every image is trained on."""
    images, labels = coloured(count)
    rows = np.arange(count)
    return TrainingData(images.numpy(), labels.numpy(), rows, rows[:0], 3, MEANS, DEVIATIONS)


def train_one_epoch(training: Training) -> tuple[float, float]:
    saver = Saver(training, Checkpoints(Path("nowhere"), ""), StopRequest())
    with counter(total=None, description="", unit="images") as bar:
        return train_epoch(training, saver, bar)


def one_epoch(
    data: TrainingData, recipe: dict[str, Any], epoch: int = 0
) -> tuple[Training, list[torch.Tensor]]:
    """Train a new model for an epoch; return the training, and the batches that it saw."""
    training = begin(data, recipe, 0, CPU, "fp32")
    training.history = [{}] * epoch
    batches: list[torch.Tensor] = []
    training.model.register_forward_pre_hook(lambda _, inputs: batches.append(inputs[0].clone()))
    train_one_epoch(training)
    return training, batches


# What it learns.


@pytest.mark.parametrize("sections", [{}, EVERYTHING], ids=["plain", "all options"])
def test_a_set_that_is_easily_told_apart_is_learnt(
    sections: dict[str, Any], tmp_path: Path
) -> None:
    trained = train_in(tmp_path, complete_recipe(epochs=8, **sections))
    assert trained.metrics()["train_accuracy"] >= 0.9
    assert trained.metrics()["valid_accuracy"] == 1.0
    assert trained.history[-1]["train_loss"] < trained.history[0]["train_loss"]


def hand_written_training(
    data: TrainingData, recipe: dict[str, Any]
) -> tuple[nn.Module, list[float], list[float]]:
    """Train with a plain loop and PyTorch's own parts; return model, losses and accuracies."""
    model = begin(data, recipe, 0, CPU, "fp32").model
    train_rows, labels = torch.from_numpy(data.train_rows), torch.from_numpy(data.labels)
    numbers = ("lr", "momentum", "nesterov", "weight_decay")
    settings = {name: recipe["optimizer"][name] for name in numbers}
    optimizer = torch.optim.SGD(model.parameters(), **settings)
    schedule, epochs = recipe["schedule"], recipe["epochs"]
    smoothing = recipe["loss"]["label_smoothing"]
    criterion = nn.CrossEntropyLoss(reduction="none", label_smoothing=smoothing)
    means, deviations = torch.tensor(MEANS), torch.tensor(DEVIATIONS)
    losses_of_epochs, accuracies = [], []
    for epoch in range(epochs):
        order = torch.randperm(len(data.train_rows), generator=generator(0, "order", epoch))
        batches = train_rows[order].split(recipe["batch_size"])
        if recipe["drop_last"]:
            batches = [rows for rows in batches if len(rows) == recipe["batch_size"]]
        epoch_losses, hits = [], []
        for step, rows in enumerate(batches):
            if schedule["name"] == "step":
                factor = schedule["decay"] ** (epoch // schedule["period"])
            else:
                done = (epoch + (step + 0.5) / len(batches)) / epochs
                factor = min(done / 0.25, (1 - done) / 0.75)
            optimizer.param_groups[0]["lr"] = factor * recipe["optimizer"]["lr"]
            images = ((torch.from_numpy(data.images)[rows] / 255 - means) / deviations).permute(
                0, 3, 1, 2
            )
            logits = model(images)
            losses = criterion(logits, labels[rows])
            optimizer.zero_grad()
            getattr(losses, recipe["loss"]["reduction"])().backward()
            optimizer.step()
            epoch_losses.append(losses.detach())
            hits.append(logits.argmax(dim=1) == labels[rows])
        losses_of_epochs.append(torch.cat(epoch_losses).mean().item())
        accuracies.append(torch.cat(hits).double().mean().item())
    return model, losses_of_epochs, accuracies


@pytest.mark.parametrize(
    "sections",
    [
        {
            "optimizer": {"lr": 0.002, "momentum": 0.9, "weight_decay": 5e-4},
            "schedule": {"name": "step", "period": 1, "decay": 0.5},
            "loss": {"reduction": "sum"},
            "drop_last": True,
        },
        LINEAR | {"optimizer": {"lr": 0.02, "nesterov": True}, "drop_last": False},
    ],
    ids=["as the chapter", "with a warm-up"],
)
def test_training_is_what_a_hand_written_loop_does(
    sections: dict[str, Any], tmp_path: Path
) -> None:
    recipe = complete_recipe(epochs=2, **sections)
    data = training_data(train_images=38)
    trained = train_in(tmp_path, recipe, data)
    model, losses, accuracies = hand_written_training(data, recipe)
    for name, tensor in model.state_dict().items():
        ours = trained.model.state_dict()[name]
        torch.testing.assert_close(ours, tensor, rtol=1e-3, atol=1e-4, msg=name)
    assert [row["train_loss"] for row in trained.history] == pytest.approx(losses, rel=1e-4)
    assert [row["train_accuracy"] for row in trained.history] == pytest.approx(accuracies)


def test_the_sum_of_losses_at_a_rate_is_the_mean_at_batch_size_times_the_rate() -> None:
    data = all_images(8)
    models = []
    for reduction, rate in (("sum", 0.001), ("mean", 0.008)):
        optimizer = {"lr": rate, "weight_decay": 0.0}
        recipe = complete_recipe(optimizer=optimizer, loss={"reduction": reduction})
        models.append(one_epoch(data, recipe)[0].model)
    for one, other in zip(*(model.parameters() for model in models), strict=True):
        torch.testing.assert_close(one, other)


# Which images it sees, and how.


@pytest.mark.parametrize(
    ("images", "batch_size", "drop_last", "batches"),
    [
        (1000, 32, True, [32] * 31),
        (1000, 32, False, [32] * 31 + [8]),
        (64, 32, True, [32, 32]),
        (20, 32, True, [20]),
    ],
    ids=["as the chapter", "with the last batch", "no remainder", "the only batch is kept"],
)
def test_an_epoch_goes_in_batches(
    images: int, batch_size: int, drop_last: bool, batches: list[int]
) -> None:
    sizes = {"batch_size": batch_size, "drop_last": drop_last}
    recipe = complete_recipe(model={"name": "small_cnn", "width": 1}, **sizes)
    training, seen = one_epoch(all_images(images), recipe)
    assert [len(batch) for batch in seen] == batches
    assert training.images_per_epoch == sum(batches)


def rows_seen(data: TrainingData, batches: list[torch.Tensor]) -> tuple[list[int], list[bool]]:
    """Return the row of each image that a model has seen, and whether it was mirrored."""
    pixels = torch.from_numpy(data.images).permute(0, 3, 1, 2)
    originals = Standardisation.of(MEANS, DEVIATIONS, CPU).apply(pixels)
    rows, mirrored = [], []
    for image in torch.cat(batches):
        for flipped in (False, True):
            candidates = originals.flip(-1) if flipped else originals
            for row in (candidates == image).flatten(1).all(dim=1).nonzero().flatten().tolist():
                rows.append(row)
                mirrored.append(flipped)
    return rows, mirrored


def test_an_epoch_has_every_training_image_once_in_an_order_of_its_own() -> None:
    data = training_data(train_images=40)
    orders = [rows_seen(data, one_epoch(data, complete_recipe(), epoch)[1])[0] for epoch in (0, 1)]
    assert all(sorted(order) == data.train_rows.tolist() for order in orders)
    assert orders[0] != orders[1]
    assert all(order != sorted(order) for order in orders)


def test_about_half_of_an_epochs_images_are_mirrored_others_in_every_epoch() -> None:
    data = training_data(train_images=40)
    recipe = complete_recipe(augmentation={"horizontal_flip": True})
    seen = [rows_seen(data, one_epoch(data, recipe, epoch)[1]) for epoch in (0, 1)]
    mirrored = [{row for row, flipped in zip(*one, strict=True) if flipped} for one in seen]
    assert all(sorted(rows) == data.train_rows.tolist() for rows, _ in seen)
    assert all(10 <= len(rows) <= 30 for rows in mirrored)
    assert mirrored[0] != mirrored[1]


def test_with_alternating_flip_two_epochs_show_every_image_both_ways() -> None:
    data = training_data(train_images=40)
    augmentation = {"horizontal_flip": True, "alternating_flip": True}
    recipe = complete_recipe(augmentation=augmentation)
    mirrored = []
    for epoch in range(3):
        rows, flipped = rows_seen(data, one_epoch(data, recipe, epoch)[1])
        mirrored.append(
            {row for row, is_mirrored in zip(rows, flipped, strict=True) if is_mirrored}
        )
    assert mirrored[1] == set(data.train_rows.tolist()) - mirrored[0]
    assert mirrored[2] == mirrored[0]
    assert 10 <= len(mirrored[0]) <= 30


def test_the_first_epochs_see_smaller_images() -> None:
    stages = [{"until": 0.25, "scale": 0.5}, {"until": 0.75, "scale": 0.625}]
    recipe = complete_recipe(epochs=4, progressive_resizing=stages)
    sizes = [one_epoch(all_images(8), recipe, epoch)[1][0].shape[-1] for epoch in range(4)]
    assert sizes == [4, 5, 5, 8]


@pytest.mark.parametrize(
    ("images", "least_steps", "batches"),
    [(1000, 10, [32] * 31), (100, 10, [10] * 10), (99, 10, [9] * 11), (5, 10, [1] * 5)],
)
def test_batches_are_smaller_where_an_epoch_would_have_too_few(
    images: int, least_steps: int, batches: list[int]
) -> None:
    sizes = {"batch_size": 32, "least_steps_per_epoch": least_steps}
    recipe = complete_recipe(model={"name": "small_cnn", "width": 1}, **sizes)
    training, seen = one_epoch(all_images(images), recipe)
    assert [len(batch) for batch in seen] == batches
    assert training.images_per_epoch == sum(batches)


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("cutmix", [0.0, 1.0])
def test_a_batch_in_parts_is_learnt_as_a_whole_one(
    reduction: str, cutmix: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []

    def without_batch_normalisation(*_: Any) -> nn.Module:
        model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 3))
        model.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
        return model

    monkeypatch.setattr(training_state, "create_model", without_batch_normalisation)
    sections = {
        "loss": {"reduction": reduction},
        "augmentation": {"cutmix": cutmix},
        "optimizer": {"lr": 1e-3, "momentum": 0.9},
    }
    whole = train_in(tmp_path / "whole", complete_recipe(**sections))
    assert sizes[:4] == [8, 8, 8, 8]
    sizes.clear()
    parts = train_in(tmp_path / "parts", complete_recipe(**sections, micro_batch_size=3))
    # As few and as equal parts as can be.
    assert sizes[:6] == [2, 3, 3, 2, 3, 3]
    for name, tensor in parts.model.state_dict().items():
        torch.testing.assert_close(tensor, whole.model.state_dict()[name], rtol=1e-4, atol=1e-6)
    for one, other in zip(parts.history, whole.history, strict=True):
        assert one["train_loss"] == pytest.approx(other["train_loss"], rel=1e-4)
        assert one["train_accuracy"] == other["train_accuracy"]


def test_labels_of_validation_images_are_never_learnt(tmp_path: Path) -> None:
    data = training_data()
    other = data.labels.copy()
    other[data.valid_rows] = (other[data.valid_rows] + 1) % 3
    trained = [
        train_in(tmp_path / name, complete_recipe(), replace(data, labels=labels))
        for name, labels in (("one", data.labels), ("other", other))
    ]
    assert_same_weights(trained[0].model, trained[1].model)
    accuracies = [run.metrics()["valid_accuracy"] for run in trained]
    assert accuracies[0] != accuracies[1]


# Validation.


def test_validation_is_the_prediction_of_the_trained_model_without_augmentation(
    tmp_path: Path,
) -> None:
    data = training_data()
    trained = train_in(tmp_path, complete_recipe(**EVERYTHING), data)
    images = torch.from_numpy(data.images[data.valid_rows])
    logits = predict_logits(
        trained.model, images, MEANS, DEVIATIONS, batch_size=9, test_time_augmentation="flip"
    )
    assert trained.valid_logits is not None
    assert torch.equal(torch.from_numpy(trained.valid_logits), logits)


def test_validation_counts_its_last_partial_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "VALIDATION_BATCH_SIZE", 4)
    data = training_data(valid_images=9)
    # The last image alone has a wrong label, so that the accuracy tells whether it was counted.
    data.labels[data.valid_rows[-1]] = (data.labels[data.valid_rows[-1]] + 1) % 3
    trained = train_in(tmp_path, complete_recipe(epochs=8), data)
    assert trained.valid_logits is not None
    assert trained.valid_logits.shape == (9, 3)
    assert trained.history[-1]["valid_accuracy"] == pytest.approx(8 / 9)


def test_validating_does_not_change_the_training(tmp_path: Path) -> None:
    data = training_data()
    nothing_held_out = replace(data, valid_rows=data.valid_rows[:0])
    recipe = complete_recipe(**EVERYTHING)
    one = train_in(tmp_path / "one", recipe, data)
    other = train_in(tmp_path / "other", recipe, nothing_held_out)
    assert_same_weights(one.model, other.model)


def test_bf16_trains_fp32_weights_and_says_so(tmp_path: Path) -> None:
    recipe = complete_recipe(epochs=1)
    half = train_in(tmp_path / "half", recipe, precision="bf16")
    full = train_in(tmp_path / "full", recipe)
    assert {parameter.dtype for parameter in half.model.parameters()} == {torch.float32}
    assert half.metrics()["precision"] == "bf16"
    losses = [run.metrics()["train_loss"] for run in (half, full)]
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=0.1)


def test_frozen_parameters_change_no_more_and_cost_no_gradients() -> None:
    freeze = [{"parameters": "whitening", "after": 0.5}, {"parameters": "groups.0", "after": 0.5}]
    model = {"name": "airbench", "widths": [4, 4, 4]}
    recipe = complete_recipe(model=model, epochs=2, freeze=freeze)
    data = replace(all_images(16), images=noise(16, 16).numpy())
    training = begin(data, recipe, 0, CPU, "fp32")
    parameters = {name: p for name, p in training.model.named_parameters() if p.requires_grad}
    resting = {name for name in parameters if name.startswith(("whitening", "groups.0"))}
    changed = []
    for _ in range(2):
        before = {name: parameter.detach().clone() for name, parameter in parameters.items()}
        train_one_epoch(training)
        training.step, training.history = 0, [*training.history, {}]
        changed.append({name for name, p in parameters.items() if not torch.equal(p, before[name])})
    assert changed == [set(parameters), set(parameters) - resting]
    assert {name for name, p in parameters.items() if not p.requires_grad} == resting


@pytest.mark.parametrize(("epsilon", "square"), [(5e-4, 1.0), (1e4, 0.0)])
def test_the_first_convolution_of_airbench_whitens_the_training_images(
    epsilon: float, square: float
) -> None:
    """Of training rows alone: the validation images are not looked at."""
    model = {"name": "airbench", "widths": [4, 4, 4], "whitening_epsilon": epsilon}
    images = torch.cat((noise(40, 16) // 4, 255 * torch.ones(40, 16, 16, 3, dtype=torch.uint8)))
    data = replace(
        training_data(train_images=40, valid_images=40),
        images=images.numpy(),
        train_rows=np.arange(40),
        valid_rows=np.arange(40, 80),
    )
    training = begin(data, complete_recipe(model=model), 0, CPU, "fp32")
    standardised = training.standardisation.apply(images[:40].permute(0, 3, 1, 2))
    with torch.no_grad():
        outputs = training.model.get_submodule("whitening")(standardised)
        outputs -= training.model.get_parameter("whitening.bias")[:, None, None]
    assert outputs.square().mean(dim=(0, 2, 3)).tolist() == pytest.approx([square] * 24, abs=0.05)


def test_what_is_kept_is_the_average_of_the_weights(tmp_path: Path) -> None:
    sections = {"averaging": {"name": "ema", "decay": 0.9, "every": 1}}
    plain = train_in(tmp_path / "plain", complete_recipe())
    averaged = train_in(tmp_path / "averaged", complete_recipe(**sections))
    training = begin(training_data(), complete_recipe(**sections), 0, CPU, "fp32")
    assert training.average is not None
    for _ in range(3):
        train_one_epoch(training)
        training.step, training.history = 0, [*training.history, {}]
    assert_same_weights(training.model, plain.model)
    training.average.put_into(training.model)
    assert_same_weights(training.model, averaged.model)


# The same again, and after interruptions.


def test_the_same_seed_gives_the_same_training_bit_for_bit(tmp_path: Path) -> None:
    recipe = complete_recipe(**EVERYTHING)
    torch.manual_seed(1)
    one = train_in(tmp_path / "one", recipe)
    torch.manual_seed(2)
    other = train_in(tmp_path / "other", recipe)
    assert_same_weights(one.model, other.model)
    assert without_times(one.history) == without_times(other.history)


def test_another_seed_gives_other_first_weights_and_another_order(tmp_path: Path) -> None:
    recipe = complete_recipe(epochs=1, optimizer={"lr": 1e-30, "weight_decay": 0.0})
    one, other = (train_in(tmp_path / str(seed), recipe, seed=seed) for seed in (0, 1))
    weights = [next(run.model.parameters()) for run in (one, other)]
    assert not torch.allclose(*weights)


class Killed(BaseException):
    """Stands for the end of the process."""


def dies_after_saving(epoch: int, patch: pytest.MonkeyPatch) -> None:
    save = checkpoint.save

    def save_and_die(folder: Path, state: dict[str, Any], fingerprint: str) -> None:
        save(folder, state, fingerprint)
        if len(state["history"]) == epoch:
            raise Killed

    patch.setattr(checkpoint, "save", save_and_die)


def dies_in_the_middle(epoch: int, patch: pytest.MonkeyPatch) -> None:
    take_step = training.take_step

    def step_or_death(*args: Any) -> torch.Tensor:
        interrupted, *_, step = args
        if (len(interrupted.history), step) == (epoch, 2):
            raise KeyboardInterrupt
        return take_step(*args)

    patch.setattr(training, "take_step", step_or_death)


WITH_MUON = {
    "optimizer": {"name": "muon", "lr": 0.1, "momentum": 0.6},
    "schedule": {"name": "linear"},
    "freeze": [{"parameters": "features.0", "after": 0.5}],
    "averaging": {"name": "lookahead", "every": 2},
}


@pytest.mark.parametrize("death", [dies_after_saving, dies_in_the_middle])
@pytest.mark.parametrize("epoch", [1, 3, 4])
@pytest.mark.parametrize("sections", [EVERYTHING, WITH_MUON], ids=["sgd", "muon"])
def test_an_interrupted_training_ends_as_if_it_had_not_been(
    death: Callable[[int, pytest.MonkeyPatch], None],
    epoch: int,
    sections: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    recipe = complete_recipe(epochs=5, **sections)
    whole = train_in(tmp_path / "whole", recipe)
    with monkeypatch.context() as patch:
        death(epoch, patch)
        with pytest.raises((Killed, KeyboardInterrupt)):
            train_in(tmp_path / "resumed", recipe)
    with caplog.at_level(logging.INFO):
        resumed = train_in(tmp_path / "resumed", recipe)
    assert f"carry on after epoch {epoch} of 5" in caplog.text
    assert_same_weights(resumed.model, whole.model)
    assert without_times(resumed.history) == without_times(whole.history)
    assert resumed.valid_logits is not None
    assert whole.valid_logits is not None
    assert resumed.valid_logits.tobytes() == whole.valid_logits.tobytes()
    assert len(read_history(tmp_path / "resumed")) == 5


@pytest.fixture
def fp16_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let fp16 compute in bf16: PyTorch's fp16 on the CPU now and then gives NaN for good numbers.

    What is left of fp16 to test is the scaling of the losses, and its place in the checkpoint.
    """
    monkeypatch.setitem(device_module.BITS_16, "fp16", torch.bfloat16)


class Steps:
    """Counts the steps of the optimiser, and does something before one of them."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self.before: dict[int, Callable[[], None]] = {}
        take_step = training.take_step

        def counted(*args: Any) -> torch.Tensor:
            self.before.get(self.count, lambda: None)()
            self.count += 1
            return take_step(*args)

        patch.setattr(training, "take_step", counted)


def die() -> None:
    raise Killed


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Steps:
    return Steps(monkeypatch)


def assert_same_training(folder: Path, one: Trained, other: Trained) -> None:
    """Assert that two trainings came to the same, bit for bit, and left the same history."""
    assert_same_weights(one.model, other.model)
    assert without_times(one.history) == without_times(other.history)
    assert one.valid_logits is not None
    assert other.valid_logits is not None
    assert one.valid_logits.tobytes() == other.valid_logits.tobytes()
    assert len(read_history(folder)) == len(one.history)


STEPS_OF_EPOCH = 4


@pytest.mark.usefixtures("fp16_on_the_cpu")
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("step", range(1, 2 * STEPS_OF_EPOCH + 1))
def test_a_checkpoint_within_an_epoch_is_carried_on_from_the_very_step(
    step: int, precision: str, tmp_path: Path, steps: Steps, caplog: pytest.LogCaptureFixture
) -> None:
    recipe = complete_recipe(epochs=2, **EVERYTHING)
    whole = train_in(tmp_path / "whole", recipe, precision=precision)
    every_step = {"precision": precision, "seconds_between": 0.0}
    steps.count, steps.before[step] = 0, die
    if step < 2 * STEPS_OF_EPOCH:
        with pytest.raises(Killed):
            train_in(tmp_path / "resumed", recipe, **every_step)
        steps.before.clear()
    with caplog.at_level(logging.INFO):
        resumed = train_in(tmp_path / "resumed", recipe, **every_step)
    # Not one step was made twice, and none was left out.
    assert steps.count == 2 * STEPS_OF_EPOCH
    assert_same_training(tmp_path / "resumed", resumed, whole)
    epochs, rest = divmod(step, STEPS_OF_EPOCH)
    if rest:
        assert f"carry on after epoch {epochs} of 2 and step {rest} of 4 of the next" in caplog.text


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_checkpoint_of_a_gpu_is_carried_on_by_the_cpu(optimizer: str) -> None:
    recipe = complete_recipe(optimizer={"name": optimizer, "lr": 0.01})
    one, other = (begin(training_data(), recipe, 0, CPU, "fp32") for _ in range(2))
    state = one.state()
    for group in state["optimizer"]["param_groups"]:
        group["lr"] = torch.tensor(0.3)
        if "capturable" in group:
            group["capturable"] = True
    other.restore(state)
    trained = [train_one_epoch(subject) for subject in (one, other)]
    assert trained[0] == trained[1]
    assert_same_weights(one.model, other.model)


def test_checkpoints_within_an_epoch_keep_their_distance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    saved = []

    def monotonic() -> float:
        nonlocal now
        now += 1.0
        return now

    clock = SimpleNamespace(monotonic=monotonic)
    monkeypatch.setattr(saving, "time", clock)
    monkeypatch.setattr(checkpoint, "save", lambda *args: saved.append(now))
    # The clock is read once in a step, and twice for a checkpoint.
    train_in(tmp_path, complete_recipe(epochs=1, batch_size=1), seconds_between=9.0)
    # The last one is that of the epoch's end.
    assert saved[:-1] == [11.0, 22.0, 33.0, 44.0]
    assert len(saved) == 5


def test_short_epochs_are_not_held_up_by_checkpoints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saving, "CHECKPOINT_SHARE", 0.05)
    saved = []

    def slowly(_: Path, state: dict[str, Any], __: str) -> None:
        saved.append(len(state["history"]))
        time.sleep(0.5)

    monkeypatch.setattr(checkpoint, "save", slowly)
    train_in(tmp_path, complete_recipe(epochs=6))
    # The next one may come after ten seconds.
    assert saved == [1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
@pytest.mark.parametrize("step", [0, 2, STEPS_OF_EPOCH - 1, STEPS_OF_EPOCH + 1])
def test_a_signal_saves_at_the_next_step_and_nothing_is_done_twice(
    number: signal.Signals, step: int, tmp_path: Path, steps: Steps
) -> None:
    recipe = complete_recipe(epochs=2, **EVERYTHING)
    whole = train_in(tmp_path / "whole", recipe)
    handlers = [signal.getsignal(each) for each in signal.Signals]
    steps.count, steps.before[step] = 0, lambda: os.kill(os.getpid(), number)
    with pytest.raises(Stopped) as raised:
        train_in(tmp_path / "resumed", recipe)
    steps.before.clear()
    assert raised.value.signal_number == number
    epochs, rest = divmod(step + 1, STEPS_OF_EPOCH)
    place = f"step {rest or STEPS_OF_EPOCH} of 4 of the next"
    assert f"stopped by {number.name} after epoch {epochs if rest else 0} of 2" in str(raised.value)
    assert place in str(raised.value)
    assert steps.count == step + 1
    assert [signal.getsignal(each) for each in signal.Signals] == handlers
    resumed = train_in(tmp_path / "resumed", recipe)
    assert steps.count == 2 * STEPS_OF_EPOCH
    assert_same_training(tmp_path / "resumed", resumed, whole)


def test_a_signal_during_validation_does_not_wait_for_its_end(
    tmp_path: Path, steps: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "VALIDATION_BATCH_SIZE", 1)
    recipe = complete_recipe(epochs=2)
    whole = train_in(tmp_path / "whole", recipe)
    batches = []

    def interrupt(training_: Training, saver: Saver) -> Any:
        stop_if_asked = saver.stop_if_asked

        def count() -> None:
            batches.append(1)
            if len(batches) == 3:
                os.kill(os.getpid(), signal.SIGTERM)
            stop_if_asked()

        saver.stop_if_asked = count  # type: ignore[method-assign]
        return validate(training_, saver)

    validate = training.validate
    steps.count = 0
    with monkeypatch.context() as patch:
        patch.setattr(training, "validate", interrupt)
        with pytest.raises(Stopped):
            train_in(tmp_path / "resumed", recipe)
    assert len(batches) == 3
    resumed = train_in(tmp_path / "resumed", recipe)
    assert steps.count == 2 * STEPS_OF_EPOCH
    assert_same_training(tmp_path / "resumed", resumed, whole)


def test_a_network_that_draws_random_numbers_is_carried_on_exactly_too(
    tmp_path: Path, steps: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_model = training_state.create_model

    def with_dropout(*args: Any) -> nn.Module:
        return nn.Sequential(nn.Dropout(0.5), create_model(*args))

    monkeypatch.setattr(training_state, "create_model", with_dropout)
    recipe = complete_recipe(epochs=2)
    whole = train_in(tmp_path / "whole", recipe)
    steps.before[steps.count + 2] = die
    with pytest.raises(Killed):
        train_in(tmp_path / "resumed", recipe, seconds_between=0.0)
    steps.before.clear()
    torch.rand(3)
    resumed = train_in(tmp_path / "resumed", recipe)
    assert_same_training(tmp_path / "resumed", resumed, whole)
    monkeypatch.setattr(training, "seed_layers", lambda *_: None)
    assert_other_weights(train_in(tmp_path / "unseeded", recipe).model, whole.model)


def assert_other_weights(one: nn.Module, other: nn.Module) -> None:
    with pytest.raises(AssertionError):
        assert_same_weights(one, other)


def test_history_stands_again_as_soon_as_a_training_is_carried_on(
    tmp_path: Path, steps: Steps
) -> None:
    steps.before[2 * STEPS_OF_EPOCH] = die
    with pytest.raises(Killed):
        train_in(tmp_path, complete_recipe())
    # As the workflow does before a job runs again.
    (tmp_path / "history.csv").unlink()
    steps.count = 2 * STEPS_OF_EPOCH
    with pytest.raises(Killed):
        train_in(tmp_path, complete_recipe())
    assert [row["epochs"] for row in read_history(tmp_path)] == ["1", "2"]


def test_a_training_that_died_at_its_very_end_is_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = complete_recipe()
    whole = train_in(tmp_path, recipe)
    (tmp_path / "history.csv").unlink()
    monkeypatch.setattr(training, "train_epoch", None)
    again = train_in(tmp_path, recipe)
    assert_same_weights(again.model, whole.model)
    assert again.history == whole.history
    assert again.valid_logits is not None
    assert whole.valid_logits is not None
    assert again.valid_logits.tobytes() == whole.valid_logits.tobytes()
    assert len(read_history(tmp_path)) == 3


def test_the_checkpoint_of_another_training_is_not_carried_on(tmp_path: Path) -> None:
    train_in(tmp_path, complete_recipe(epochs=2), fingerprint="another")
    trained = train_in(tmp_path, complete_recipe(epochs=3))
    expected = train_in(tmp_path / "fresh", complete_recipe(epochs=3))
    assert_same_weights(trained.model, expected.model)


# Where the images lie, and in which numbers it computes.


def test_a_memory_map_gives_the_same_training_bit_for_bit(tmp_path: Path) -> None:
    data = training_data()
    np.save(tmp_path / "images.npy", data.images)
    mapped = replace(data, images=np.load(tmp_path / "images.npy", mmap_mode="c"))
    recipe = complete_recipe(**EVERYTHING)
    whole = train_in(tmp_path / "whole", recipe, data)
    assert begin(mapped, recipe, 0, CPU, "fp32").images.data_ptr() == mapped.images.ctypes.data
    assert_same_training(tmp_path / "whole", train_in(tmp_path / "map", recipe, mapped), whole)


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("c++"), reason="compiling needs a C++ compiler")
def test_a_compiled_network_learns_the_same_and_repeats_itself(tmp_path: Path) -> None:
    # In bf16, in which PyTorch rounds less often between operations that it compiles into one.
    images, labels = coloured(45, SMALLEST_IMAGE)
    data = replace(training_data(), images=images.numpy(), labels=labels.numpy())
    model = {"activation": "silu", "pooling": "max_plus_mean"}
    sections = {"model": {"name": "airbench", "widths": [4, 8, 8], **model}, "epochs": 2}
    plain = train_in(tmp_path / "plain", complete_recipe(**sections), data, precision="bf16")
    recipe = complete_recipe(**sections, compile=True)
    one, other = (
        train_in(tmp_path / name, recipe, data, precision="bf16") for name in ("one", "other")
    )
    assert_same_training(tmp_path / "one", one, other)
    assert one.model.state_dict().keys() == plain.model.state_dict().keys()
    losses = [[row["train_loss"] for row in run.history] for run in (one, plain)]
    assert losses[0] == pytest.approx(losses[1], rel=0.1)


def test_freed_memory_is_kept_from_the_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    done = []
    monkeypatch.setattr(training_state, "keep_freed_memory", lambda: done.append("kept"))
    begin(training_data(), complete_recipe(), 0, CPU, "fp32")
    assert done == ["kept"]


def test_compiling_is_asked_for_with_a_fixed_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def compile_(model: nn.Module, **options: Any) -> nn.Module:
        asked.append(options)
        return nn.Sequential(model)

    monkeypatch.setattr(torch, "compile", compile_)
    plain = begin(training_data(), complete_recipe(), 0, CPU, "fp32")
    assert plain.network is plain.model
    compiled = begin(training_data(), complete_recipe(compile=True), 0, CPU, "fp32")
    assert compiled.network is not compiled.model
    assert asked == [{"dynamic": False}]


@pytest.mark.usefixtures("fp16_on_the_cpu")
def test_the_losses_of_fp16_are_scaled(tmp_path: Path) -> None:
    training_ = begin(training_data(), complete_recipe(), 0, CPU, "fp16")
    assert training_.scaler.is_enabled()
    assert not begin(training_data(), complete_recipe(), 0, CPU, "bf16").scaler.is_enabled()
    half = train_in(tmp_path / "half", complete_recipe(epochs=1), precision="fp16")
    full = train_in(tmp_path / "full", complete_recipe(epochs=1))
    assert half.metrics()["train_loss"] == pytest.approx(full.metrics()["train_loss"], rel=0.05)


def test_two_steps_can_be_tried_without_a_trace(tmp_path: Path) -> None:
    recipe = complete_recipe(**EVERYTHING)
    try_steps(training_data(), recipe | {"batch_size": 100}, 0, CPU, "fp32")
    assert not list(tmp_path.iterdir())


# What it writes.


def read_history(folder: Path) -> list[dict[str, str]]:
    with (folder / "history.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_history_has_a_row_of_the_fixed_columns_for_each_epoch(tmp_path: Path) -> None:
    trained = train_in(tmp_path, complete_recipe(schedule={"period": 1, "decay": 0.5}))
    rows = read_history(tmp_path)
    assert list(rows[0]) == [
        "epochs",
        "train_loss",
        "train_accuracy",
        "valid_accuracy",
        "learning_rate",
        "examples_per_second",
        "seconds",
        "device",
        "precision",
    ]
    assert [row["epochs"] for row in rows] == ["1", "2", "3"]
    assert [float(row["learning_rate"]) for row in rows] == pytest.approx([0.02, 0.01, 0.005])
    for row, written in zip(trained.history, rows, strict=True):
        assert float(written["train_loss"]) == row["train_loss"]
        assert float(written["valid_accuracy"]) == row["valid_accuracy"]
        assert (written["device"], written["precision"]) == ("cpu", "fp32")


def test_history_is_there_after_every_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dies_after_saving(2, monkeypatch)
    with pytest.raises(Killed):
        train_in(tmp_path, complete_recipe())
    assert len(read_history(tmp_path)) == 2


def test_metrics_are_the_last_epochs_with_the_speed_of_the_whole(tmp_path: Path) -> None:
    trained = train_in(tmp_path, complete_recipe(epochs=2))
    speeds = [{"seconds": 2.0, "examples_per_second": 100.0}]
    speeds += [{"seconds": 1.0, "examples_per_second": 400.0}]
    history = [old | new for old, new in zip(trained.history, speeds, strict=True)]
    write_metrics(tmp_path / "metrics.json", replace(trained, history=history).metrics())
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    last = {name: history[-1][name] for name in ("train_loss", "train_accuracy", "valid_accuracy")}
    assert metrics == last | {
        "epochs": 2,
        "examples_per_second": 200.0,
        "seconds": 3.0,
        "device": "cpu",
        "precision": "fp32",
        "valid_images": 9,
    }


def test_without_validation_images_there_is_no_accuracy_of_them(tmp_path: Path) -> None:
    trained = train_in(tmp_path, complete_recipe(), all_images(16))
    assert trained.valid_logits is None
    assert trained.metrics()["valid_accuracy"] is None
    assert {row["valid_accuracy"] for row in read_history(tmp_path)} == {""}


def test_examples_per_second_are_those_that_were_trained_on(tmp_path: Path) -> None:
    trained = train_in(tmp_path, complete_recipe(), training_data(train_images=36))
    for row in trained.history:
        assert row["examples_per_second"] * row["seconds"] == pytest.approx(32)


@pytest.mark.parametrize(("valid_images", "valid"), [(9, r"valid acc \d\.\d{3}, "), (0, "")])
def test_a_line_for_each_epoch_is_logged_in_the_chapters_terms(
    valid_images: int, valid: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        train_in(tmp_path, complete_recipe(), training_data(valid_images=valid_images))
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 3
    for epoch, line in enumerate(lines, start=1):
        pattern = rf"epoch {epoch}/3: train loss \d+\.\d{{3}}, train acc \d\.\d{{3}}, {valid}"
        assert re.fullmatch(pattern + r"[\d,]+ examples/sec on cpu", line), line


# What can go wrong.


@pytest.mark.parametrize("sections", [{}, {"loss": {"reduction": "sum"}}])
def test_a_loss_that_is_not_finite_is_a_user_error_with_advice(
    sections: dict[str, Any], tmp_path: Path
) -> None:
    recipe = complete_recipe(optimizer={"lr": 1e30}, **sections)
    with pytest.raises(UserError) as raised:
        train_in(tmp_path, recipe)
    message = str(raised.value)
    assert re.search(
        r"the loss is not finite in epoch 1, step \d, at a learning rate of 1e\+30; ", message
    )
    assert "lr: 1e+29" in message
    assert "precision: fp32" in message
    assert "\n" not in message
    assert checkpoint.load(tmp_path / "checkpoint", "fingerprint") is None
    for row in read_history(tmp_path) if (tmp_path / "history.csv").exists() else []:
        assert math.isfinite(float(row["train_loss"]))


def test_the_first_step_whose_loss_is_not_finite_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_step, done = training.take_step, []

    def poisoned(*args: Any) -> torch.Tensor:
        done.append(1)
        figures = take_step(*args)
        return figures * math.nan if len(done) >= STEPS_OF_EPOCH + 2 else figures

    monkeypatch.setattr(training, "take_step", poisoned)
    with pytest.raises(UserError, match=r"not finite in epoch 2, step 2, at a learning rate of"):
        train_in(tmp_path, complete_recipe(), seconds_between=0.0)
    state = checkpoint.load(tmp_path / "checkpoint", "fingerprint")
    assert state is not None
    assert len(state["history"]), len(state["figures"]) == (1, 1)


def test_a_loss_that_is_not_finite_ends_a_long_epoch_early(
    tmp_path: Path, steps: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "SECONDS_BETWEEN_LOOKS", 0.0)
    recipe = complete_recipe(batch_size=1, optimizer={"lr": 1e30})
    with pytest.raises(UserError, match="not finite in epoch 1"):
        train_in(tmp_path, recipe)
    assert steps.count < 10


# Its speed.


class Operations(TorchDispatchMode):
    """Counts operations by name."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        self.counts[str(func)] += 1
        return func(*args, **(kwargs or {}))


def operations_of_an_epoch(images: int, batch_size: int) -> Counter[str]:
    recipe = complete_recipe(batch_size=batch_size, **EVERYTHING)
    training_ = begin(all_images(images), recipe, 0, CPU, "bf16")
    watch = Operations()
    with watch:
        train_one_epoch(training_)
    return watch.counts


def test_the_work_of_an_epoch_grows_with_its_steps_and_not_with_its_images(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Look, "take", lambda *_: None)
    few, many = operations_of_an_epoch(8, 2), operations_of_an_epoch(240, 60)
    assert few == many
    assert sum(many.values()) > sum(operations_of_an_epoch(120, 60).values())


def test_no_step_reads_anything_back_from_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Look, "take", lambda *_: None)
    monkeypatch.setattr(Training, "loss_and_accuracy", lambda *_: (0.0, 0.0))
    waiting = ("_local_scalar_dense", "nonzero", "equal", "masked_select")
    for name in operations_of_an_epoch(16, 4):
        assert not any(part in name.split(".") for part in waiting), name


def test_the_progress_shows_loss_accuracy_rate_speed_and_the_time_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    monkeypatch.setattr(training, "SECONDS_BETWEEN_LOOKS", 0.0)
    monkeypatch.setattr("sys.stderr", io.StringIO())
    with caplog.at_level(logging.INFO):
        train_in(tmp_path, complete_recipe(schedule={"period": 1, "decay": 0.5}))
    lines = [
        record.getMessage() for record in caplog.records if " of 96 images" in record.getMessage()
    ]
    assert len(lines) == 3 * STEPS_OF_EPOCH
    for number, line in enumerate(lines, start=1):
        epoch = 1 + (number - 1) // STEPS_OF_EPOCH
        # A line is written before the figures of its own step are there.
        pattern = rf"train: {8 * number} of 96 images, [\d,]+/s, \d\d:\d\d left, epoch {epoch} of 3"
        assert re.match(pattern, line), line
        if number > 1 + STEPS_OF_EPOCH * (epoch - 1):
            rate = {1: "0.02", 2: "0.01", 3: "0.005"}[epoch]
            figures = rf", loss \d\.\d+, acc \d\.\d+, lr {rate}$"
            assert re.search(figures, line), line


class Event:
    """Stands for the event of a GPU that has done what it was told, or has not."""

    def __init__(self) -> None:
        self.done = True
        self.recorded = 0

    def query(self) -> bool:
        return self.done

    def record(self) -> None:
        self.recorded += 1


def test_a_look_at_a_gpu_never_waits_and_shows_what_has_arrived() -> None:
    figures = torch.arange(8.0).reshape(4, 2)
    look = Look(figures)
    event = Event()
    look.arrived = event  # type: ignore[assignment]
    assert look.take(figures[:1]) is None
    event.done = False
    assert look.take(figures[:2]) is None
    assert event.recorded == 1
    event.done = True
    taken = look.take(figures[:3])
    assert taken is not None
    # The copy that was ordered by the first call: the second one found it under way.
    assert torch.equal(taken, figures[:1])
    taken = look.take(figures[:4])
    assert taken is not None
    assert torch.equal(taken, figures[:3])
    assert event.recorded == 3


class Float64Watch(TorchDispatchMode):
    """Notes after how many steps of the optimiser a float64 tensor is made."""

    def __init__(self) -> None:
        super().__init__()
        self.steps_done = 0
        self.found_after: list[int] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        result = func(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor) and result.dtype == torch.float64:
            self.found_after.append(self.steps_done)
        return result


def test_an_epoch_computes_without_float64_which_mps_does_not_have(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    training = begin(all_images(16), complete_recipe(**EVERYTHING), 0, CPU, "fp32")
    watch = Float64Watch()

    def count(*_: object) -> None:
        watch.steps_done += 1

    assert isinstance(training.optimizer, torch.optim.Optimizer)
    training.optimizer.register_step_post_hook(count)
    # What is looked at now and then is on the CPU.
    monkeypatch.setattr(Look, "take", lambda *_: None)
    with watch:
        train_one_epoch(training)
    assert watch.steps_done == 2
    # Once the last batch is done, numbers may be added up on the CPU.
    assert set(watch.found_after) <= {2}


TRAIN_WITH_MUON = """
import sys
from pathlib import Path
from training_builders import complete_recipe, train_in, training_data
train_in(Path(sys.argv[1]), complete_recipe(optimizer={"name": "muon"}), training_data(8, 4))
assert "imagepipe.training.muon" in sys.modules
print("torch._dynamo" in sys.modules)
"""


def test_training_with_muon_loads_no_compiler(tmp_path: Path) -> None:
    paths = os.pathsep.join(path for path in sys.path if path)
    done = subprocess.run(
        [sys.executable, "-c", TRAIN_WITH_MUON, str(tmp_path)],
        env=os.environ | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["False"]
