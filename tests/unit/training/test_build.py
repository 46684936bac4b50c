"""What is set up before the first step of a training."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from image_builders import noise
from imagepipe.training import build as build_module
from training_builders import build, complete_recipe, training_data


@pytest.mark.parametrize(("epsilon", "square"), [(5e-4, 1.0), (1e4, 0.0)])
def test_the_first_convolution_of_airbench_whitens_the_training_images(
    epsilon: float, square: float
) -> None:
    """Of training images alone: it does not see the validation images."""
    model = {"name": "airbench", "widths": [4, 4, 4], "whitening_epsilon": epsilon}
    images = torch.cat((noise(40, 16) // 4, 255 * torch.ones(40, 16, 16, 3, dtype=torch.uint8)))
    data = replace(
        training_data(train_images=40, valid_images=40),
        images=images.numpy(),
        train_rows=np.arange(40),
        valid_rows=np.arange(40, 80),
    )
    training = build(complete_recipe(model=model), data)
    with torch.no_grad():
        normalized = training.normalize(images[:40].permute(0, 3, 1, 2))
        outputs = training.model.get_submodule("whitening")(normalized)
        outputs -= training.model.get_parameter("whitening.bias")[:, None, None]
    assert outputs.square().mean(dim=(0, 2, 3)).tolist() == pytest.approx([square] * 24, abs=0.05)


def test_freed_memory_is_kept_from_the_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    done = []
    monkeypatch.setattr(build_module, "keep_freed_memory", lambda: done.append("kept"))
    build(complete_recipe())
    assert done == ["kept"]


def test_networks_are_compiled_for_a_fixed_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def compile_(model: nn.Module, **options: Any) -> nn.Module:
        asked.append(options)
        return nn.Sequential(model)

    monkeypatch.setattr(torch, "compile", compile_)
    plain = build(complete_recipe())
    assert plain.network is plain.model
    compiled = build(complete_recipe(compile=True))
    assert compiled.network is not compiled.model
    assert asked == [{"dynamic": False}]
