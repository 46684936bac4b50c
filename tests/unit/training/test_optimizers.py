"""The optimizers, against PyTorch's own, and their parameter groups."""

from typing import Any

import pytest
import torch
from torch import nn

from imagepipe.config.recipe import Airbench
from imagepipe.models.create import create_model
from imagepipe.training.muon import Muon
from imagepipe.training.optimizers import Optimizer, create_optimizer, set_lr
from training_builders import complete_recipe


def optimizer_of(model: nn.Module, **sections: Any) -> Optimizer:
    """Return the optimizer of a recipe, at its highest learning rates."""
    optimizer = create_optimizer(model, complete_recipe(**sections), "fp32")
    set_lr(optimizer, lambda *_: 1.0)
    return optimizer


@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd_takes_the_recipes_four_numbers(nesterov: bool) -> None:
    settings = {"lr": 0.05, "momentum": 0.8, "nesterov": nesterov, "weight_decay": 0.01}
    models = [nn.Linear(3, 2) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    optimizers: list[Optimizer] = [
        optimizer_of(models[0], optimizer=settings),
        torch.optim.SGD(models[1].parameters(), **settings),
    ]
    assert_same_steps(models, optimizers)


def test_adamw_is_that_of_torch() -> None:
    settings = {"lr": 0.01, "weight_decay": 0.1}
    models = [nn.Linear(3, 2) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    optimizers: list[Optimizer] = [
        optimizer_of(models[0], optimizer={"name": "adamw", **settings}),
        torch.optim.AdamW(models[1].parameters(), **settings),
    ]
    assert_same_steps(models, optimizers)


def assert_same_steps(models: list[nn.Linear], optimizers: list[Optimizer]) -> None:
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
    model = create_model(Airbench(), 10)
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
    # Neither the whitening weights nor the scales of batch normalization are trained.
    assert names["whitening.weight"] is None
    assert names["groups.0.norms.0.weight"] is None
    assert sum(group is None for group in names.values()) == 1 + 6


@pytest.mark.parametrize("name", ["sgd", "adamw", "muon"])
def test_freeze_gives_the_parameters_that_it_names_a_fraction_of_the_training(name: str) -> None:
    model = create_model(Airbench(), 10)
    freeze = [{"parameters": "whitening", "after": 0.3}, {"parameters": "groups.0", "after": 0.8}]
    optimizer = optimizer_of(model, optimizer={"name": name}, freeze=freeze)
    parts = {
        id(p): group["freeze_after"] for group in optimizer.param_groups for p in group["params"]
    }
    for parameter_name, parameter in model.named_parameters():
        if parameter.requires_grad:
            expected = {"whitening": 0.3, "groups.0": 0.8}
            part = next((v for k, v in expected.items() if parameter_name.startswith(k)), 1.0)
            assert parts[id(parameter)] == part, parameter_name


def test_sgd_lets_the_loss_scaling_of_fp16_skip_steps() -> None:
    # The fused one says that it does so itself, and keeps their momentum, on a GPU.
    model = nn.Linear(2, 2)
    for precision, scales_itself in (("fp16", False), ("bf16", True)):
        optimizer = create_optimizer(model, complete_recipe(), precision)
        assert getattr(optimizer, "_step_supports_amp_scaling", False) is scales_itself
