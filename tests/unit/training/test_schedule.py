"""Learning rates, batches and image sizes over a training, against PyTorch's schedules."""

import math
from typing import Any

import pytest
import torch
from torch import nn

from imagepipe.training.schedule import TrainingSchedule
from training_builders import all_images, complete_recipe, file_recipe, one_epoch


def lr_scales(epochs: int = 8, steps_per_epoch: int = 25, **options: Any) -> list[float]:
    """Return the scales of all steps of a training."""
    recipe = complete_recipe(schedule=options, epochs=epochs, batch_size=1)
    schedule = TrainingSchedule(recipe, steps_per_epoch)
    return [schedule.lr_scale(step) for step in range(schedule.total_steps)]


def test_step_schedule_is_that_of_torch_in_every_step_of_every_epoch() -> None:
    recipe = file_recipe("d2l")
    plan = TrainingSchedule(recipe, 1000)
    assert plan.steps_per_epoch == 31
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=recipe.optimizer.lr)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=4, gamma=0.9)
    for epoch in range(recipe.epochs):
        expected = pytest.approx(schedule.get_last_lr()[0], rel=1e-9)
        for step in (0, 15, 30):
            assert plan.lr(epoch * 31 + step) == expected
        optimizer.step()
        schedule.step()


@pytest.mark.parametrize("warmup", [0.0, 0.25, 0.6])
@pytest.mark.parametrize("name", ["linear", "cosine", "one_cycle"])
def test_the_rate_rises_to_its_highest_in_the_warmup_and_falls_to_almost_nothing(
    name: str, warmup: float
) -> None:
    rates = lr_scales(name=name, warmup=warmup)
    peak = rates.index(max(rates))
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert peak / len(rates) == pytest.approx(warmup, abs=0.01)
    assert 0.98 < max(rates) <= 1
    assert all(rate > 0 for rate in rates)
    if warmup > 0:
        assert rates[0] < 0.05
    assert rates[-1] < 0.01 / (1 - warmup)


def test_linear_and_cosine_are_half_way_down_in_the_middle_of_their_fall() -> None:
    for name, quarter in (("linear", 0.75), ("cosine", (1 + math.cos(math.pi / 4)) / 2)):
        rates = lr_scales(name=name)
        assert rates[100] == pytest.approx(0.5, abs=0.01)
        assert rates[50] == pytest.approx(quarter, abs=0.01)


def test_a_step_schedule_with_warmup_rises_first() -> None:
    rates = lr_scales(name="step", warmup=0.125, period=4, decay=0.1)
    assert rates[:25] == pytest.approx([(step + 0.5) / 25 for step in range(25)])
    assert rates[25:100] == [1.0] * 75
    assert rates[100:] == pytest.approx([0.1] * 100)


@pytest.mark.parametrize("warmup", [0.1, 0.3])
def test_one_cycle_is_that_of_torch(warmup: float) -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0, momentum=0.9)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=1.0, total_steps=200, pct_start=warmup
    )
    for rate in lr_scales(name="one_cycle", warmup=warmup):
        assert rate == pytest.approx(schedule.get_last_lr()[0], rel=1e-6, abs=1e-9)
        optimizer.step()
        if schedule.last_epoch < 199:
            schedule.step()


@pytest.mark.parametrize("name", ["step", "linear", "cosine", "one_cycle"])
@pytest.mark.parametrize("warmup", [0.0, 0.25])
def test_a_training_of_a_single_step_trains(name: str, warmup: float) -> None:
    (rate,) = lr_scales(epochs=1, steps_per_epoch=1, name=name, warmup=warmup)
    assert 0 < rate <= 1


def test_the_rate_of_parameters_that_are_frozen_early_falls_to_0_there() -> None:
    recipe = complete_recipe(schedule={"name": "linear"}, epochs=10, batch_size=1)
    schedule = TrainingSchedule(recipe, 10)
    rates = [schedule.lr_scale(step, freeze_after=0.3) for step in range(100)]
    assert rates[0] == pytest.approx(1, abs=0.02)
    assert rates[:30] == sorted(rates[:30], reverse=True)
    assert all(rate > 0 for rate in rates[:30])
    assert rates[30:] == [0.0] * 70


@pytest.mark.parametrize(
    ("images", "sections", "batches"),
    [
        (1000, {"drop_last": True}, [32] * 31),
        (1000, {"drop_last": False}, [32] * 31 + [8]),
        (64, {"drop_last": True}, [32, 32]),
        (20, {"drop_last": True}, [20]),
        (1000, {"min_steps_per_epoch": 10}, [32] * 31),
        (100, {"min_steps_per_epoch": 10}, [10] * 10),
        (99, {"min_steps_per_epoch": 10}, [9] * 11),
        (5, {"min_steps_per_epoch": 10}, [1] * 5),
    ],
)
def test_an_epoch_has_whole_batches_and_enough_of_them(
    images: int, sections: dict[str, Any], batches: list[int]
) -> None:
    schedule = TrainingSchedule(complete_recipe(batch_size=32, **sections), images)
    steps = range(schedule.steps_per_epoch)
    assert [schedule.batch_size_at(step) for step in steps] == batches
    assert schedule.images_per_epoch == sum(batches)


def test_the_first_epochs_see_smaller_images() -> None:
    stages = [{"until": 0.25, "scale": 0.5}, {"until": 0.75, "scale": 0.625}]
    recipe = complete_recipe(epochs=4, progressive_resizing=stages)
    sizes = [one_epoch(all_images(8), recipe, epoch)[1][0].shape[-1] for epoch in range(4)]
    assert sizes == [4, 5, 5, 8]


@pytest.mark.parametrize("name", ["step", "linear", "cosine", "one_cycle"])
def test_layers_that_start_later_have_the_schedule_of_a_shorter_training(name: str) -> None:
    shorter = lr_scales(epochs=5, name=name, warmup=0.25)
    recipe = complete_recipe(epochs=8, batch_size=1, schedule={"name": name, "warmup": 0.25})
    schedule = TrainingSchedule(recipe, 25)
    rates = [schedule.lr_scale(step, frozen_epochs=3) for step in range(200)]
    assert rates == [0.0] * 75 + shorter


def test_what_is_never_trained_has_no_rate() -> None:
    schedule = TrainingSchedule(complete_recipe(epochs=2, batch_size=1), 5)
    for step in range(10):
        assert schedule.lr_scale(step, freeze_after=0.0) == 0
        assert schedule.lr_scale(step, frozen_epochs=2) == 0
        assert schedule.lr_scale(step, frozen_epochs=3) == 0
