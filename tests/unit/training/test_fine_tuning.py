"""Fine-tuning: first the head, then all layers at rates of their own, with kept statistics."""

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from imagepipe.config.recipe import Recipe
from imagepipe.models.create import create_model
from imagepipe.models.heads import head_names, is_in
from imagepipe.models.layer_groups import layer_depths
from imagepipe.training import build as build_module
from imagepipe.training import loop
from imagepipe.training.build import Training
from imagepipe.training.loop import try_steps
from imagepipe.training.muon import Muon
from imagepipe.training.optimizers import clip_gradients, create_optimizer, set_lr
from training_builders import (
    all_images,
    build,
    complete_recipe,
    spec_of,
    train_in,
    train_one_epoch,
)

RESNET = {"name": "timm", "architecture": "test_resnet"}
VIT = {"name": "timm", "architecture": "test_vit"}


def recipe_of(model: dict[str, Any] = RESNET, **sections: Any) -> Recipe:
    return complete_recipe(**{"model": model, "image_size": 32, "drop_last": True} | sections)


def tensors_of(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def changes(training: Training) -> tuple[set[str], set[str]]:
    """Train an epoch; return the names of the parameters and of the buffers that it changed."""
    before = tensors_of(training.model)
    train_one_epoch(training)
    changed = {
        name for name, t in training.model.state_dict().items() if not torch.equal(t, before[name])
    }
    parameters = {name for name, _ in training.model.named_parameters()}
    return changed & parameters, changed - parameters


OPTIMIZERS: list[dict[str, Any]] = [
    {"name": "sgd", "lr": 0.01},
    {"name": "adamw", "lr": 0.001},
    {"name": "muon", "lr": 0.01},
]


@pytest.mark.parametrize("keep_statistics", [True, False])
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda options: options["name"])
@pytest.mark.parametrize("model", [RESNET, VIT], ids=["resnet", "vit"])
def test_first_only_the_head_is_trained_and_then_all(
    model: dict[str, Any], optimizer: dict[str, Any], keep_statistics: bool
) -> None:
    fine_tune = {"frozen_epochs": 1, "keep_statistics": keep_statistics}
    recipe = recipe_of(model, optimizer=optimizer, fine_tune=fine_tune, epochs=2)
    training = build(recipe, all_images(16))
    heads = head_names(training.model)
    parameters = {name for name, _ in training.model.named_parameters()}
    head = {name for name in parameters if is_in(name, heads)}
    assert changes(training) == (head, set())
    assert {name for name, p in training.model.named_parameters() if p.requires_grad} == head
    changed, statistics = changes(training)
    # Random features may leave a normalization without a gradient.
    depths = layer_depths(training.model)
    assert {depths[name] for name in changed} == set(depths.values())
    assert all(parameter.requires_grad for parameter in training.model.parameters())
    assert bool(statistics) is (model is RESNET and not keep_statistics)


def test_validation_leaves_the_statistics_kept(tmp_path: Path) -> None:
    recipe = recipe_of(fine_tune={"frozen_epochs": 1}, epochs=3)
    torch.manual_seed(0)
    start = build(recipe).model.state_dict()
    end = train_in(tmp_path, recipe).model.state_dict()
    buffers = [name for name in start if name.rpartition(".")[2].startswith(("running", "num_"))]
    assert buffers
    assert all(torch.equal(start[name], end[name]) for name in buffers)


def test_with_all_epochs_frozen_the_features_have_no_gradients() -> None:
    recipe = recipe_of(fine_tune={"frozen_epochs": 2, "keep_statistics": False}, epochs=2)
    training = build(recipe, all_images(16))
    for _ in range(2):
        assert changes(training) == ({"fc.weight", "fc.bias"}, set())
    trained = [p for group in training.optimizer.param_groups for p in group["params"]]
    assert len(trained) == 2


def test_parameters_that_are_frozen_from_the_start_are_never_trained() -> None:
    freeze = [{"parameters": "layer1", "after": 0}, {"parameters": "conv1", "after": 0}]
    training = build(recipe_of(freeze=freeze, epochs=1), all_images(16))
    parameters = {name for name, _ in training.model.named_parameters()}
    assert changes(training)[0] == {
        name for name in parameters if not name.startswith(("layer1", "conv1"))
    }


def rates(optimizer: Any, model: nn.Module) -> dict[str, float]:
    """Return the highest rate of each parameter."""
    names = {parameter: name for name, parameter in model.named_parameters()}
    return {
        names[parameter]: group["initial_lr"]
        for group in optimizer.param_groups
        for parameter in group["params"]
    }


@pytest.mark.parametrize("head_lr", [None, 0.5])
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda options: options["name"])
def test_rates_fall_from_layer_to_layer_towards_the_stem(
    optimizer: dict[str, Any], head_lr: float | None
) -> None:
    fine_tune = {"lr_decay_by_layer": 0.5, "head_lr": head_lr}
    recipe = recipe_of(optimizer=optimizer, fine_tune=fine_tune)
    model = create_model(recipe.model, 3)
    found = rates(create_optimizer(model, recipe, "fp32"), model)
    for name, depth in layer_depths(model).items():
        lr = optimizer["lr"]
        if optimizer["name"] == "muon" and model.get_parameter(name).dim() < 4:
            lr = 0.05
        expected = head_lr if head_lr and name.startswith("fc") else lr * 0.5 ** (5 - depth)
        assert found[name] == pytest.approx(expected), name


def test_layers_start_with_the_schedule_when_the_frozen_phase_ends() -> None:
    recipe = recipe_of(
        fine_tune={"frozen_epochs": 1, "head_lr": 0.3},
        optimizer={"lr": 0.1},
        schedule={"name": "linear", "warmup": 0.25},
        epochs=3,
    )
    training = build(recipe, all_images(32))
    shorter = build(recipe.model_copy(update={"epochs": 2}), all_images(32)).schedule
    lrs = []
    for step in range(12):
        training.state.history[:] = [None] * (step // 4)  # type: ignore[list-item]
        training.state.step = step % 4
        training.set_lr()
        lrs.append({group["initial_lr"]: group["lr"] for group in training.optimizer.param_groups})
    assert [lr[0.3] for lr in lrs] == [0.3 * training.schedule.lr_scale(s) for s in range(12)]
    assert [lr[0.1] for lr in lrs] == [0.0] * 4 + [0.1 * shorter.lr_scale(s) for s in range(8)]


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda options: options["name"])
@pytest.mark.parametrize("model", [RESNET, VIT], ids=["resnet", "vit"])
def test_norms_biases_and_tokens_have_no_decay(
    model: dict[str, Any], optimizer: dict[str, Any]
) -> None:
    if optimizer["name"] != "muon":
        optimizer = optimizer | {"decay_norms_and_biases": False}
    recipe = recipe_of(model, optimizer=optimizer, fine_tune={})
    network = create_model(recipe.model, 3)
    names = {parameter: name for name, parameter in network.named_parameters()}
    optimizer_of_recipe = create_optimizer(network, recipe, "fp32")
    is_muon = isinstance(optimizer_of_recipe, Muon)
    without = {
        names[parameter]
        for group in optimizer_of_recipe.param_groups
        for parameter in group["params"]
        if group["weight_decay"] == 0 and not (is_muon and group["orthogonal"])
    }
    expected = {name for name, p in network.named_parameters() if p.dim() == 1}
    assert without == expected | ({"cls_token", "pos_embed"} & set(names.values()))


def test_a_step_without_gradients_decays_only_matrices() -> None:
    settings = {"name": "adamw", "lr": 0.1, "weight_decay": 0.5, "decay_norms_and_biases": False}
    model = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4))
    optimizer = create_optimizer(model, complete_recipe(optimizer=settings), "fp32")
    set_lr(optimizer, lambda *_: 1.0)
    before = tensors_of(model)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    assert torch.allclose(model[0].weight, before["0.weight"] * 0.95)
    for name in ("0.bias", "1.weight", "1.bias"):
        assert torch.equal(model.get_parameter(name), before[name])


def test_muon_keeps_the_norms_of_pretrained_filters() -> None:
    fine_tune = {"frozen_epochs": 0, "lr_decay_by_layer": 0.9}
    recipe = recipe_of(optimizer={"name": "muon", "lr": 0.02}, fine_tune=fine_tune, epochs=1)
    training = build(recipe, all_images(16))
    before = tensors_of(training.model)
    assert changes(training)[0]
    for name, parameter in training.model.named_parameters():
        if parameter.dim() == 4:
            assert not torch.equal(parameter, before[name])
            ratio = float(parameter.detach().norm() / before[name].norm())
            assert ratio == pytest.approx(1, abs=0.05), name


@pytest.mark.parametrize("max_norm", [0.1, 1e3])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.usefixtures("fp16_on_the_cpu")
def test_gradients_are_clipped_as_by_torch(
    precision: str, max_norm: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Tensor] = []

    def look(optimizer: Any, limit: float) -> None:
        seen.append(norm_of(optimizer))
        clip_gradients(optimizer, limit)
        seen.append(norm_of(optimizer))

    def norm_of(optimizer: Any) -> Tensor:
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        return torch.cat([p.grad.flatten() for p in parameters]).norm()

    monkeypatch.setattr(loop, "clip_gradients", look)
    recipe = complete_recipe(gradient_clipping=max_norm, micro_batch_size=3)
    training = build(recipe, all_images(16), precision=precision)
    train_one_epoch(training)
    assert len(seen) == 4
    for before, after in zip(seen[::2], seen[1::2], strict=True):
        # Not the scaled ones of fp16.
        assert before < 100
        torch.testing.assert_close(after, before.clamp(max=max_norm), rtol=1e-4, atol=1e-6)


def test_a_clipped_step_is_that_of_a_hand_written_loop() -> None:
    model = create_model(complete_recipe().model, 3)
    optimizer = create_optimizer(model, complete_recipe(), "fp32")
    model(torch.ones(2, 3, 8, 8)).square().sum().backward()
    expected = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    norm = math.sqrt(sum(float(grad.square().sum()) for grad in expected))
    clip_gradients(optimizer, norm / 2)
    for parameter, grad in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, grad / 2)


@pytest.fixture
def weights(tmp_path: Path) -> Iterator[Path]:
    torch.manual_seed(7)
    model = create_model(recipe_of().model, 10)
    path = tmp_path / "weights.safetensors"
    save_file(model.state_dict(), path)
    yield path


def test_a_training_starts_from_the_weights(weights: Path, tmp_path: Path) -> None:
    model = RESNET | {"weights": "some.safetensors", "hidden_units": 5}
    recipe = recipe_of(model, fine_tune={"frozen_epochs": 2}, epochs=2)
    data = replace(all_images(16), weights=weights)
    trained = train_in(tmp_path, recipe, data).model.state_dict()
    torch.manual_seed(7)
    expected = create_model(recipe_of().model, 10).state_dict()
    for name, tensor in trained.items():
        if not name.startswith("fc."):
            assert torch.equal(tensor, expected[name]), name
    assert trained["fc.0.weight"].shape[0] == 5


@pytest.mark.parametrize(("frozen_epochs", "expected"), [(1, True), (3, False)])
def test_memory_is_tried_as_in_the_phase_that_needs_most(
    frozen_epochs: int, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[Training] = []

    def watched(*args: Any) -> Training:
        built.append(build_module.build_training(*args))
        return built[-1]

    monkeypatch.setattr(loop, "build_training", watched)
    recipe = recipe_of(fine_tune={"frozen_epochs": frozen_epochs}, epochs=3)
    try_steps(all_images(16), spec_of(recipe), torch.device("cpu"), "fp32")
    stem = next(built[0].model.parameters())
    assert stem.requires_grad is expected
    assert (stem.grad is not None) is expected


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda options: options["name"])
def test_micro_batches_change_nothing_with_kept_statistics(optimizer: dict[str, Any]) -> None:
    models = []
    for micro_batch_size in (None, 3):
        recipe = recipe_of(
            fine_tune={"frozen_epochs": 1},
            optimizer=optimizer | {"lr": 1e-3},
            gradient_clipping=0.5,
            micro_batch_size=micro_batch_size,
            epochs=2,
        )
        training = build(recipe, all_images(16))
        for _ in range(2):
            train_one_epoch(training)
        models.append(training.model.state_dict())
    for name, tensor in models[0].items():
        torch.testing.assert_close(tensor, models[1][name], rtol=1e-2, atol=1e-4, msg=name)
