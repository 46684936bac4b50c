"""The optimisers, the schedules and the loss, against PyTorch's own."""

import math
from typing import Any

import pytest
import torch
from torch import nn

from imagepipe.augmentation.mixing import Mixed
from imagepipe.models.networks import create_model
from imagepipe.training.muon import Muon
from imagepipe.training.optimizers import create_optimizer, loss_of_each, rate_factor
from training_builders import complete_recipe, file_recipe


def optimizer_of(model: nn.Module, **sections: Any) -> Muon | torch.optim.Optimizer:
    return create_optimizer(model, complete_recipe(**sections), "fp32")


def factors(epochs: int = 8, steps_per_epoch: int = 25, **schedule: Any) -> list[float]:
    """Return the factors of all steps of a training."""
    options = complete_recipe(schedule=schedule)["schedule"]
    steps = range(epochs * steps_per_epoch)
    return [rate_factor(options, epochs, steps_per_epoch, step) for step in steps]


def test_step_schedule_is_that_of_torch_in_every_step_of_every_epoch() -> None:
    recipe = file_recipe("d2l")
    rate, epochs, steps = recipe["optimizer"]["lr"], recipe["epochs"], 31
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=rate)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=4, gamma=0.9)
    for epoch in range(epochs):
        expected = pytest.approx(schedule.get_last_lr()[0], rel=1e-9)
        for step in (0, 15, 30):
            step += epoch * steps
            assert rate * rate_factor(recipe["schedule"], epochs, steps, step) == expected
        optimizer.step()
        schedule.step()


@pytest.mark.parametrize("warmup", [0.0, 0.25, 0.6])
@pytest.mark.parametrize("name", ["linear", "cosine", "one_cycle"])
def test_the_rate_rises_to_its_highest_in_the_warmup_and_falls_to_almost_nothing(
    name: str, warmup: float
) -> None:
    rates = factors(name=name, warmup=warmup)
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
        rates = factors(name=name)
        assert rates[100] == pytest.approx(0.5, abs=0.01)
        assert rates[50] == pytest.approx(quarter, abs=0.01)


def test_a_step_schedule_with_warmup_rises_first() -> None:
    rates = factors(name="step", warmup=0.125, period=4, decay=0.1)
    assert rates[:25] == pytest.approx([(step + 0.5) / 25 for step in range(25)])
    assert rates[25:100] == [1.0] * 75
    assert rates[100:] == pytest.approx([0.1] * 100)


@pytest.mark.parametrize("warmup", [0.1, 0.3])
def test_one_cycle_is_that_of_torch(warmup: float) -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0, momentum=0.9)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=1.0, total_steps=200, pct_start=warmup
    )
    for rate in factors(name="one_cycle", warmup=warmup):
        assert rate == pytest.approx(schedule.get_last_lr()[0], rel=1e-6, abs=1e-9)
        optimizer.step()
        if schedule.last_epoch < 199:
            schedule.step()


@pytest.mark.parametrize("name", ["step", "linear", "cosine", "one_cycle"])
@pytest.mark.parametrize("warmup", [0.0, 0.25])
def test_a_training_of_a_single_step_trains(name: str, warmup: float) -> None:
    (rate,) = factors(epochs=1, steps_per_epoch=1, name=name, warmup=warmup)
    assert 0 < rate <= 1


def test_parameters_that_are_frozen_early_come_to_rest_there() -> None:
    schedule = complete_recipe(schedule={"name": "linear"})["schedule"]
    rates = [rate_factor(schedule, 10, 10, step, trained_part=0.3) for step in range(100)]
    assert rates[0] == pytest.approx(1, abs=0.02)
    assert rates[:30] == sorted(rates[:30], reverse=True)
    assert all(rate > 0 for rate in rates[:30])
    assert rates[30:] == [0.0] * 70


@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd_takes_the_recipes_four_numbers(nesterov: bool) -> None:
    settings = {"lr": 0.05, "momentum": 0.8, "nesterov": nesterov, "weight_decay": 0.01}
    models = [nn.Linear(3, 2) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    optimizers: list[Muon | torch.optim.Optimizer] = [
        optimizer_of(models[0], optimizer=settings),
        torch.optim.SGD(models[1].parameters(), **settings),
    ]
    assert_same_steps(models, optimizers)


def test_adamw_is_that_of_torch() -> None:
    settings = {"lr": 0.01, "weight_decay": 0.1}
    models = [nn.Linear(3, 2) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    optimizers: list[Muon | torch.optim.Optimizer] = [
        optimizer_of(models[0], optimizer={"name": "adamw", **settings}),
        torch.optim.AdamW(models[1].parameters(), **settings),
    ]
    assert_same_steps(models, optimizers)


def assert_same_steps(
    models: list[nn.Linear], optimizers: list[Muon | torch.optim.Optimizer]
) -> None:
    for _ in range(3):
        for model, optimizer in zip(models, optimizers, strict=True):
            optimizer.zero_grad()
            model(torch.ones(4, 3)).square().sum().backward()
            optimizer.step()
    torch.testing.assert_close(models[0].weight, models[1].weight)


MUON = {
    "name": "muon",
    "lr": 0.2,
    "momentum": 0.6,
    "weight_decay": 2e-3,
    "rest": {"lr": 0.05, "head_lr": 0.5, "momentum": 0.85},
}


def test_muon_is_for_filters_and_the_last_linear_layer_has_a_rate_of_its_own() -> None:
    model = create_model(complete_recipe(model={"name": "airbench"})["model"], 10)
    optimizer = optimizer_of(model, optimizer=MUON)
    assert isinstance(optimizer, Muon)
    of_parameter = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    names = {name: of_parameter.get(id(p)) for name, p in model.named_parameters()}
    filters = names["groups.1.convolutions.0.weight"]
    assert filters is not None
    assert (filters["lr"], filters["momentum"], filters["orthogonal"]) == (0.2, 0.6, True)
    # By so much the highest rate shrinks a parameter in a step.
    for name, rate in (("groups.0.norms.1.bias", 0.05), ("classifier.weight", 0.5)):
        group = names[name]
        assert group is not None
        assert (group["lr"], group["momentum"], group["orthogonal"]) == (rate, 0.85, False)
        assert group["lr"] * group["weight_decay"] == pytest.approx(2e-3)
    # Neither the whitening weights nor the scales of batch normalisation are trained.
    assert names["whitening.weight"] is None
    assert names["groups.0.norms.0.weight"] is None
    assert sum(group is None for group in names.values()) == 1 + 6


@pytest.mark.parametrize("name", ["sgd", "adamw", "muon"])
def test_freeze_gives_the_parameters_that_it_names_a_part_of_the_training(name: str) -> None:
    model = create_model(complete_recipe(model={"name": "airbench"})["model"], 10)
    freeze = [{"parameters": "whitening", "after": 0.3}, {"parameters": "groups.0", "after": 0.8}]
    optimizer = optimizer_of(model, optimizer={"name": name}, freeze=freeze)
    parts = {
        id(p): group["trained_part"] for group in optimizer.param_groups for p in group["params"]
    }
    for parameter_name, parameter in model.named_parameters():
        if parameter.requires_grad:
            expected = {"whitening": 0.3, "groups.0": 0.8}
            part = next((v for k, v in expected.items() if parameter_name.startswith(k)), 1.0)
            assert parts[id(parameter)] == part, parameter_name


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_of_each_image_is_the_smoothed_cross_entropy(smoothing: float) -> None:
    logits, labels = torch.randn(6, 4), torch.tensor([0, 1, 2, 3, 0, 1])
    losses = loss_of_each(logits, Mixed(labels), {"label_smoothing": smoothing})
    theirs = nn.CrossEntropyLoss(label_smoothing=smoothing)(logits, labels)
    torch.testing.assert_close(losses.mean(), theirs)
    logs = logits.log_softmax(dim=1)
    target = torch.eye(4)[labels] * (1 - smoothing) + smoothing / 4
    torch.testing.assert_close(losses, -(logs * target).sum(dim=1))


def test_sgd_leaves_to_the_scaling_of_fp16_which_steps_are_left_out() -> None:
    # The fused one says that it does so itself, and keeps their momentum, on a GPU.
    model = nn.Linear(2, 2)
    for precision, scales_itself in (("fp16", False), ("bf16", True)):
        optimizer = create_optimizer(model, complete_recipe(), precision)
        assert getattr(optimizer, "_step_supports_amp_scaling", False) is scales_itself
