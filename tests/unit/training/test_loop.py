"""The training loop: what it learns, which images it sees, and how it validates."""

import logging
import math
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from image_builders import CPU, MEAN, STD
from imagepipe.augmentation.normalize import Normalize
from imagepipe.augmentation.randomness import generator
from imagepipe.augmentation.resizing import resize_images
from imagepipe.config.recipe import SGD, Recipe, StepSchedule
from imagepipe.dataset.submission_form import MetricChoice
from imagepipe.errors import UserError
from imagepipe.prediction.predict import predict_logits
from imagepipe.training import build as build_module
from imagepipe.training import checkpoint, epoch_progress, loop
from imagepipe.training.build import Training
from imagepipe.training.epoch_progress import AsyncReader
from imagepipe.training.loop import try_steps
from imagepipe.training.state import TrainingData
from training_builders import (
    EVERYTHING,
    LINEAR,
    STEPS_PER_EPOCH,
    UNEQUAL,
    Steps,
    all_images,
    assert_same_result,
    assert_same_weights,
    build,
    complete_recipe,
    one_epoch,
    read_history,
    several_labels_data,
    spec_of,
    train_in,
    train_one_epoch,
    training_data,
    without_times,
)

# What it learns.


@pytest.mark.parametrize(
    "sections",
    [{}, EVERYTHING, UNEQUAL | {"augmentation": {}}],
    ids=["plain", "all options", "unequal classes"],
)
def test_images_that_are_easy_to_tell_apart_are_learned(
    sections: dict[str, Any], tmp_path: Path
) -> None:
    history = train_in(tmp_path, complete_recipe(epochs=8, **sections)).history
    assert history[-1].train_accuracy >= 0.9
    assert history[-1].valid_accuracy == 1.0
    assert history[-1].train_loss < history[0].train_loss


@pytest.mark.parametrize("sections", [{}, {"loss": {"focal_gamma": 2.0}}, {"sampling": "balanced"}])
def test_several_labels_are_learned(sections: dict[str, Any], tmp_path: Path) -> None:
    data = replace(
        several_labels_data(72, 30), metric=MetricChoice("f1_samples"), classes=("a", "b", "c")
    )
    recipe = complete_recipe(epochs=20, optimizer={"name": "adamw", "lr": 0.02}, **sections)
    result = train_in(tmp_path, recipe, data)
    last = result.history[-1]
    assert last.train_accuracy >= 0.8
    assert last.valid_accuracy is not None and last.valid_accuracy >= 0.9
    assert result.valid_logits is not None
    is_right = ((result.valid_logits >= 0) == data.labels[data.valid_rows]).all(axis=1)
    assert last.valid_accuracy == pytest.approx(is_right.mean())
    # An image without labels counts as 0.
    assert last.metric is not None and last.metric > 0.75


def test_the_metric_is_that_of_the_validation_logits(tmp_path: Path) -> None:
    data = replace(training_data(), metric=MetricChoice("log_loss"), classes=("a", "b", "c"))
    result = train_in(tmp_path, complete_recipe(epochs=2), data)
    assert result.valid_logits is not None
    logits = torch.from_numpy(result.valid_logits)
    expected = nn.functional.cross_entropy(logits, torch.from_numpy(data.labels[data.valid_rows]))
    assert result.history[-1].metric == pytest.approx(expected.item(), rel=1e-5)
    assert read_history(tmp_path)[-1]["log_loss"] == str(result.history[-1].metric)


def test_logits_that_are_not_finite_have_no_metric_and_are_no_error() -> None:
    choice = MetricChoice("mean_column_roc_auc")
    data = replace(training_data(), metric=choice, classes=("a", "b", "c"))
    logits = np.zeros((len(data.valid_rows), 3), np.float32)
    assert loop.validation_metrics(data, logits, several_labels=False).metric == 0.5
    logits[0] = np.nan
    assert loop.validation_metrics(data, logits, several_labels=False).metric is None


def test_the_metric_accuracy_is_the_accuracy(tmp_path: Path) -> None:
    data = replace(training_data(), metric=MetricChoice("accuracy"), classes=("a", "b", "c"))
    last = train_in(tmp_path, complete_recipe(epochs=1), data).history[-1]
    assert (last.metric_name, last.metric) == ("accuracy", last.valid_accuracy)


def hand_written_training(
    data: TrainingData, recipe: Recipe
) -> tuple[nn.Module, list[float], list[float]]:
    """Train with a plain loop and PyTorch's own parts; return model, losses and accuracies."""
    model = build(recipe, data).model
    train_rows, labels = torch.from_numpy(data.train_rows), torch.from_numpy(data.labels)
    assert isinstance(recipe.optimizer, SGD)
    optimizer = torch.optim.SGD(
        model.parameters(),
        **recipe.optimizer.model_dump(exclude={"name", "decay_norms_and_biases"}),
    )
    schedule, epochs = recipe.schedule, recipe.epochs
    criterion = nn.CrossEntropyLoss(reduction="none", label_smoothing=recipe.loss.label_smoothing)
    mean, std = torch.tensor(MEAN), torch.tensor(STD)
    losses_of_epochs, accuracies = [], []
    for epoch in range(epochs):
        order = torch.randperm(len(data.train_rows), generator=generator(0, "order", epoch))
        batches = list(train_rows[order].split(recipe.batch_size))
        if recipe.drop_last:
            batches = [rows for rows in batches if len(rows) == recipe.batch_size]
        epoch_losses, correct = [], []
        for step, rows in enumerate(batches):
            if isinstance(schedule, StepSchedule):
                scale = schedule.decay ** (epoch // schedule.period)
            else:
                done = (epoch + (step + 0.5) / len(batches)) / epochs
                scale = min(done / 0.25, (1 - done) / 0.75)
            optimizer.param_groups[0]["lr"] = scale * recipe.optimizer.lr
            images = ((torch.from_numpy(data.images)[rows] / 255 - mean) / std).permute(0, 3, 1, 2)
            logits = model(images)
            losses = criterion(logits, labels[rows])
            optimizer.zero_grad()
            getattr(losses, recipe.loss.reduction)().backward()
            optimizer.step()
            epoch_losses.append(losses.detach())
            correct.append(logits.argmax(dim=1) == labels[rows])
        losses_of_epochs.append(torch.cat(epoch_losses).mean().item())
        accuracies.append(torch.cat(correct).double().mean().item())
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
def test_training_equals_a_hand_written_loop(sections: dict[str, Any], tmp_path: Path) -> None:
    recipe = complete_recipe(epochs=2, **sections)
    data = training_data(train_images=38)
    result = train_in(tmp_path, recipe, data)
    model, losses, accuracies = hand_written_training(data, recipe)
    for name, tensor in model.state_dict().items():
        ours = result.model.state_dict()[name]
        torch.testing.assert_close(ours, tensor, rtol=1e-3, atol=1e-4, msg=name)
    assert [epoch.train_loss for epoch in result.history] == pytest.approx(losses, rel=1e-4)
    assert [epoch.train_accuracy for epoch in result.history] == pytest.approx(accuracies)


def test_the_sum_of_losses_at_a_rate_is_the_mean_at_batch_size_times_the_rate() -> None:
    data = all_images(8)
    models = []
    for reduction, lr in (("sum", 0.001), ("mean", 0.008)):
        optimizer = {"lr": lr, "weight_decay": 0.0}
        recipe = complete_recipe(optimizer=optimizer, loss={"reduction": reduction})
        models.append(one_epoch(data, recipe)[0].model)
    for one, other in zip(*(model.parameters() for model in models), strict=True):
        torch.testing.assert_close(one, other)


# Which images it sees, and how.


@pytest.mark.parametrize("size", [[12, 12], [9, 15]])
def test_images_are_enlarged_in_training_and_validation(size: list[int], tmp_path: Path) -> None:
    data = training_data()
    enlarged = resize_images(torch.from_numpy(data.images), size).permute(0, 3, 1, 2)
    training, batches = one_epoch(data, complete_recipe(image_size=size))
    order = torch.randperm(len(data.train_rows), generator=generator(0, "order", 0))
    normalized = training.normalize(enlarged[torch.from_numpy(data.train_rows)[order]])
    torch.testing.assert_close(torch.cat(batches), normalized[:32], rtol=0, atol=1e-4)
    result = train_in(tmp_path, complete_recipe(image_size=size, epochs=1), data)
    with torch.no_grad():
        logits = result.model.eval()(training.normalize(enlarged[data.valid_rows]))
    assert result.valid_logits is not None
    np.testing.assert_allclose(result.valid_logits, logits, rtol=1e-3, atol=1e-4)


def test_the_augmentation_counts_in_pixels_of_the_stored_image() -> None:
    recipe = complete_recipe(image_size=[16, 32], augmentation={"cutout": 4})
    training, batches = one_epoch(training_data(), recipe)
    assert {batch.shape for batch in batches} == {(8, 3, 16, 32)}
    assert all((batch == 0).all(dim=1).sum() == 8 * 8 * 16 for batch in batches)
    assert training.image_size == [16, 32]


def test_the_size_at_which_images_are_stored_changes_nothing() -> None:
    plain, same = (
        one_epoch(training_data(), complete_recipe(image_size=size))[0] for size in (None, 8)
    )
    assert_same_weights(plain.model, same.model)


def test_whitening_sees_enlarged_images_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = complete_recipe(image_size=12, model={"name": "airbench", "widths": [4, 4, 4]})
    whole = build(recipe).model.get_parameter("whitening.weight")
    monkeypatch.setattr(build_module, "MAX_CHUNK_PIXELS", 5 * 12 * 12)
    chunks = build(recipe).model.get_parameter("whitening.weight")
    torch.testing.assert_close(chunks, whole, rtol=1e-2, atol=5e-3)


def test_balanced_sampling_shows_as_many_images_and_augments_each_anew() -> None:
    data = training_data()
    labels = data.labels.copy()
    labels[data.train_rows[1:]] = 1
    labels[data.train_rows[0]] = 0
    recipe = complete_recipe(sampling="balanced", augmentation={"random_crop_padding": 3})
    training, batches = one_epoch(replace(data, labels=labels), recipe)
    seen = torch.cat(batches)
    assert len(seen) == 32
    assert training.sampling is not None
    drawn = training.sampling.draw(0, 0)[:32]
    assert 8 < (drawn == 0).sum() < 24
    assert len(seen[drawn == 0].unique(dim=0)) > 4


@pytest.mark.parametrize(
    ("images", "sections", "batches"),
    [
        (100, {"drop_last": True}, [32] * 3),
        (100, {"drop_last": False}, [32] * 3 + [4]),
        (20, {"drop_last": True}, [20]),
        (99, {"min_steps_per_epoch": 10}, [9] * 11),
    ],
    ids=["as the chapter", "with the last batch", "the only batch", "smaller batches"],
)
def test_an_epoch_goes_in_batches(
    images: int, sections: dict[str, Any], batches: list[int]
) -> None:
    recipe = complete_recipe(model={"name": "small_cnn", "width": 1}, batch_size=32, **sections)
    training, seen = one_epoch(all_images(images), recipe)
    assert [len(batch) for batch in seen] == batches
    assert training.schedule.images_per_epoch == sum(batches)


def rows_seen(data: TrainingData, batches: list[torch.Tensor]) -> tuple[list[int], list[bool]]:
    """Return the row of each image that a model has seen, and whether it was mirrored."""
    pixels = torch.from_numpy(data.images).permute(0, 3, 1, 2)
    originals = Normalize.from_statistics(MEAN, STD, CPU)(pixels)
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


@pytest.mark.parametrize("alternating", [False, True])
def test_about_half_of_an_epochs_images_are_mirrored(alternating: bool) -> None:
    data = training_data(train_images=40)
    augmentation = {"horizontal_flip": True, "alternating_flip": alternating}
    recipe = complete_recipe(augmentation=augmentation)
    mirrored = []
    for epoch in range(3):
        rows, flipped = rows_seen(data, one_epoch(data, recipe, epoch)[1])
        assert sorted(rows) == data.train_rows.tolist()
        mirrored.append({row for row, is_flipped in zip(rows, flipped, strict=True) if is_flipped})
        assert 10 <= len(mirrored[-1]) <= 30
    if alternating:
        # Two epochs show every image both ways.
        assert mirrored[1] == set(data.train_rows.tolist()) - mirrored[0]
        assert mirrored[2] == mirrored[0]
    else:
        assert mirrored[0] != mirrored[1]


def test_labels_of_validation_images_are_never_learned(tmp_path: Path) -> None:
    data = training_data()
    labels = data.labels.copy()
    labels[data.valid_rows] = (labels[data.valid_rows] + 1) % 3
    one = train_in(tmp_path / "one", complete_recipe(), data)
    other = train_in(tmp_path / "other", complete_recipe(), replace(data, labels=labels))
    assert_same_weights(one.model, other.model)
    assert one.history[-1].valid_accuracy != other.history[-1].valid_accuracy


def test_a_memory_map_gives_the_same_training_bit_for_bit(tmp_path: Path) -> None:
    data = training_data()
    np.save(tmp_path / "images.npy", data.images)
    mapped = replace(data, images=np.load(tmp_path / "images.npy", mmap_mode="c"))
    recipe = complete_recipe(**EVERYTHING)
    whole = train_in(tmp_path / "whole", recipe, data)
    assert build(recipe, mapped).images.data_ptr() == mapped.images.ctypes.data
    assert_same_result(train_in(tmp_path / "map", recipe, mapped), whole)


def test_the_same_seed_gives_the_same_training_bit_for_bit(tmp_path: Path) -> None:
    recipe = complete_recipe(**EVERYTHING)
    torch.manual_seed(1)
    one = train_in(tmp_path / "one", recipe)
    torch.manual_seed(2)
    other = train_in(tmp_path / "other", recipe)
    assert_same_weights(one.model, other.model)
    assert without_times(one.history) == without_times(other.history)


def test_another_seed_gives_other_first_weights(tmp_path: Path) -> None:
    recipe = complete_recipe(epochs=1, optimizer={"lr": 1e-30, "weight_decay": 0.0})
    one, other = (train_in(tmp_path / str(seed), recipe, seed=seed) for seed in (0, 1))
    weights = [next(run.model.parameters()) for run in (one, other)]
    assert not torch.allclose(*weights)


# Validation.


def test_validation_predicts_without_augmentation_by_the_trained_model(tmp_path: Path) -> None:
    data = training_data()
    result = train_in(tmp_path, complete_recipe(**EVERYTHING), data)
    images = torch.from_numpy(data.images[data.valid_rows])
    logits = predict_logits(
        result.model, images, MEAN, STD, batch_size=9, test_time_augmentation="flip"
    )
    assert result.valid_logits is not None
    assert torch.equal(torch.from_numpy(result.valid_logits), logits)


def test_validation_counts_its_last_partial_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "VALIDATION_BATCH_SIZE", 4)
    data = training_data(valid_images=9)
    # Only the last image has a wrong label, so that the accuracy tells whether it was counted.
    data.labels[data.valid_rows[-1]] = (data.labels[data.valid_rows[-1]] + 1) % 3
    result = train_in(tmp_path, complete_recipe(epochs=8), data)
    assert result.valid_logits is not None
    assert result.valid_logits.shape == (9, 3)
    assert result.history[-1].valid_accuracy == pytest.approx(8 / 9)


def test_validation_does_not_change_the_training(tmp_path: Path) -> None:
    data = training_data()
    nothing_held_out = replace(data, valid_rows=data.valid_rows[:0])
    recipe = complete_recipe(**EVERYTHING)
    one = train_in(tmp_path / "one", recipe, data)
    other = train_in(tmp_path / "other", recipe, nothing_held_out)
    assert_same_weights(one.model, other.model)


def test_without_validation_images_there_is_no_validation_accuracy(tmp_path: Path) -> None:
    result = train_in(tmp_path, complete_recipe(), all_images(16))
    assert result.valid_logits is None
    assert result.history[-1].valid_accuracy is None
    assert {row["valid_accuracy"] for row in read_history(tmp_path)} == {""}


def test_averaged_weights_are_kept(tmp_path: Path) -> None:
    sections = {"averaging": {"name": "ema", "decay": 0.9, "every": 1}}
    plain = train_in(tmp_path / "plain", complete_recipe())
    averaged = train_in(tmp_path / "averaged", complete_recipe(**sections))
    training = build(complete_recipe(**sections))
    assert training.average is not None
    for _ in range(3):
        train_one_epoch(training)
    assert_same_weights(training.model, plain.model)
    training.average.copy_to(training.model)
    assert_same_weights(training.model, averaged.model)


def test_two_steps_can_be_tried_without_a_trace(tmp_path: Path) -> None:
    recipe = complete_recipe(**EVERYTHING, batch_size=100)
    try_steps(training_data(), spec_of(recipe), CPU, "fp32")
    assert not list(tmp_path.iterdir())


# What it reports.


def test_speed_is_that_of_the_images_that_were_trained_on(tmp_path: Path) -> None:
    result = train_in(tmp_path, complete_recipe(), training_data(train_images=36))
    for epoch in result.history:
        assert epoch.examples_per_second * epoch.seconds == pytest.approx(32)


def test_history_has_the_learning_rate_of_each_epochs_last_step(tmp_path: Path) -> None:
    result = train_in(tmp_path, complete_recipe(schedule={"period": 1, "decay": 0.5}))
    rows = read_history(tmp_path)
    assert [row["epochs"] for row in rows] == ["1", "2", "3"]
    assert [float(row["learning_rate"]) for row in rows] == pytest.approx([0.02, 0.01, 0.005])
    for epoch, row in zip(result.history, rows, strict=True):
        assert float(row["train_loss"]) == epoch.train_loss
        assert float(row["valid_accuracy"]) == epoch.valid_accuracy
        assert (row["device"], row["precision"]) == ("cpu", "fp32")


@pytest.mark.parametrize(("valid_images", "valid"), [(9, r"valid acc \d\.\d{3}, "), (0, "")])
def test_each_epoch_logs_a_line_in_the_chapters_terms(
    valid_images: int, valid: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        train_in(tmp_path, complete_recipe(), training_data(valid_images=valid_images))
    assert len(caplog.messages) == 3
    for epoch, line in enumerate(caplog.messages, start=1):
        pattern = rf"epoch {epoch}/3: train loss \d+\.\d{{3}}, train acc \d\.\d{{3}}, {valid}"
        assert re.fullmatch(pattern + r"[\d,]+ examples/sec on cpu", line), line


# A loss that is not finite.


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
    assert "override='{optimizer: {lr: 1e+29}}'" in message
    assert "precision: fp32" in message
    assert "\n" not in message
    assert checkpoint.load(tmp_path / "checkpoint", "fingerprint") is None
    for row in read_history(tmp_path) if (tmp_path / "history.csv").exists() else []:
        assert math.isfinite(float(row["train_loss"]))


def test_the_first_step_with_a_loss_that_is_not_finite_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_step, done = loop.train_step, []

    def poisoned(*args: Any) -> torch.Tensor:
        done.append(1)
        loss_and_correct = train_step(*args)
        return loss_and_correct * math.nan if len(done) >= STEPS_PER_EPOCH + 2 else loss_and_correct

    monkeypatch.setattr(loop, "train_step", poisoned)
    with pytest.raises(UserError, match=r"not finite in epoch 2, step 2, at a learning rate of"):
        train_in(tmp_path, complete_recipe(), seconds_between=0.0)
    state = checkpoint.load(tmp_path / "checkpoint", "fingerprint")
    assert state is not None
    assert (len(state["history"]), len(state["loss_and_correct"])) == (1, 1)


def test_a_loss_that_is_not_finite_ends_a_long_epoch_early(
    tmp_path: Path, steps: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(epoch_progress, "SECONDS_BETWEEN_READS", 0.0)
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
    training = build(recipe, all_images(images), precision="bf16")
    watch = Operations()
    with watch:
        train_one_epoch(training)
    return watch.counts


def test_the_work_of_an_epoch_grows_with_its_steps_and_not_with_its_images(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(AsyncReader, "read", lambda *_: None)
    few, many = operations_of_an_epoch(8, 2), operations_of_an_epoch(240, 60)
    assert few == many
    assert sum(many.values()) > sum(operations_of_an_epoch(120, 60).values())


def test_no_step_reads_anything_back_from_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AsyncReader, "read", lambda *_: None)
    monkeypatch.setattr(Training, "mean_loss_and_accuracy", lambda *_: (0.0, 0.0))
    waiting = ("_local_scalar_dense", "nonzero", "equal", "masked_select")
    for name in operations_of_an_epoch(16, 4):
        assert not any(part in name.split(".") for part in waiting), name
