"""The small network."""

import pytest
import torch
from torch import nn

from imagepipe.config.recipe import SmallCNN
from imagepipe.models.create import create_model


@pytest.mark.parametrize(("size", "classes"), [(32, 10), (33, 2), (7, 37), (1, 3)])
def test_small_cnn_takes_images_of_any_size_and_any_number_of_classes(
    size: int, classes: int
) -> None:
    model = create_model(SmallCNN(width=4), classes).eval()
    assert model(torch.randn(2, 3, size, size)).shape == (2, classes)


def test_small_cnn_has_width_times_1_2_and_4_channels_in_pairs_of_convolutions() -> None:
    model = create_model(SmallCNN(width=5), 10)
    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    assert [module.out_channels for module in convolutions] == [5, 5, 10, 10, 20, 20]
