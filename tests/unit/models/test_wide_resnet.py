"""The wide residual network, against its paper."""

from typing import Any

import pytest
import torch
from torch import nn

from imagepipe.config.recipe import WideResNet
from imagepipe.models.create import create_model
from imagepipe.models.wide_resnet import WideBlock


def wide_resnet(classes: int = 10, **options: Any) -> nn.Module:
    torch.manual_seed(0)
    return create_model(WideResNet(**options), classes)


@pytest.mark.parametrize(
    ("depth", "widening_factor", "millions"),
    [(40, 1, 0.6), (40, 2, 2.2), (16, 8, 11.0), (28, 10, 36.5)],
)
def test_wide_resnet_has_as_many_parameters_as_table_5_of_the_paper_says(
    depth: int, widening_factor: int, millions: float
) -> None:
    with torch.device("meta"):
        model = wide_resnet(depth=depth, widening_factor=widening_factor)
    assert round(sum(p.numel() for p in model.parameters()) / 1e6, 1) == millions


@pytest.mark.parametrize(("size", "classes"), [(32, 10), (33, 2), (7, 37)])
def test_wide_resnet_takes_images_of_any_size_and_any_number_of_classes(
    size: int, classes: int
) -> None:
    model = wide_resnet(classes, depth=10, widening_factor=1).eval()
    assert model(torch.randn(2, 3, size, size)).shape == (2, classes)


def test_wide_resnet_halves_the_image_twice_and_widens_it() -> None:
    model = wide_resnet(depth=16, widening_factor=2)
    assert model.blocks(model.stem(torch.randn(1, 3, 32, 32))).shape == (1, 128, 8, 8)


def test_a_block_of_wide_resnet_passes_its_input_by() -> None:
    """Without anything from the convolutions, what comes in is what goes out."""
    block = WideBlock(4, 4, stride=1)
    nn.init.zeros_(block.conv2.weight)
    images = torch.randn(2, 4, 8, 8)
    assert torch.equal(block(images), images)
