"""Which networks need training images before they start, and which images they all take."""

import pytest
import torch

from imagepipe.config import recipe
from imagepipe.models.create import InitializedFromImages, create_model

NETWORKS = [
    recipe.Airbench(widths=[128, 128, 8]),
    recipe.Airbench(widths=[4, 6, 8], convolutions=3, pooling="max_plus_mean"),
    recipe.SmallCNN(width=4),
    recipe.D2LResNet18(),
    recipe.WideResNet(depth=10, widening_factor=1),
    recipe.Torchvision(architecture="resnet18", stem="small"),
]


def test_only_airbench_is_initialized_from_images() -> None:
    for options in NETWORKS[2:]:
        assert not isinstance(create_model(options, 10), InitializedFromImages)
    assert isinstance(create_model(NETWORKS[0], 10), InitializedFromImages)


@pytest.mark.parametrize("options", NETWORKS, ids=lambda options: options.name)
@pytest.mark.parametrize("size", [(9, 40), (33, 18), (24, 32)])
def test_networks_take_images_of_any_shape_and_tell_their_axes_apart(
    options: recipe.Model, size: tuple[int, int]
) -> None:
    torch.manual_seed(0)
    model = create_model(options, 5)
    images = torch.randn(3, 3, *size).to(memory_format=torch.channels_last)
    logits = model.train()(images)
    assert logits.shape == (3, 5)
    logits.sum().backward()
    model.eval()
    with torch.no_grad():
        for parameter in model.parameters():
            # Filters that are the same both ways.
            if parameter.dim() == 4:
                parameter.copy_((parameter + parameter.transpose(2, 3)) / 2)
        turned = model(images.transpose(2, 3))
        torch.testing.assert_close(turned, model(images), rtol=1e-3, atol=1e-4)
