"""A network for the tests of prediction."""

import pytest
import torch
from torch import nn

from image_builders import CPU, MEAN, STD, noise
from imagepipe.augmentation.normalize import Normalize
from imagepipe.config.recipe import SmallCNN
from imagepipe.models.create import create_model


@pytest.fixture
def model() -> nn.Module:
    """A network, in training mode, whose batch normalization has statistics of its own."""
    torch.manual_seed(0)
    model = create_model(SmallCNN(width=4), 3).train()
    normalize = Normalize.from_statistics(MEAN, STD, CPU)
    for _ in range(3):
        model(normalize(noise(16).permute(0, 3, 1, 2)))
    # So that the logits of different images are far apart.
    with torch.no_grad():
        model.classifier.weight *= 100
    return model
