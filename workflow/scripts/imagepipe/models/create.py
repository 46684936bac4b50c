"""From a recipe's `model` section to a network.

Every network maps float images [N, 3, H, W] to logits [N, classes].
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from imagepipe.config import recipe
from imagepipe.models.airbench import Airbench
from imagepipe.models.d2l_resnet import D2LResNet18
from imagepipe.models.frozen_features import create_frozen_with_head
from imagepipe.models.small_cnn import SmallCNN
from imagepipe.models.torchvision_timm import create_library_model
from imagepipe.models.wide_resnet import WideResNet


@runtime_checkable
class InitializedFromImages(Protocol):
    """A network that computes some of its weights from training images before training starts."""

    num_images_for_initialization: int

    def initialize_from_images(self, chunks: Iterable[Tensor]) -> None:
        """Set the weights from normalized float images [n, 3, H, W] on the network's device."""


def create_model(
    options: recipe.Model,
    num_classes: int,
    weights: Path | None = None,
    image_size: Sequence[int] | None = None,
) -> nn.Module:
    """Return a network with random weights, drawn from PyTorch's global generator.

    weights: a file of pretrained ones for all layers but the head, if a library's network starts
    from them. image_size: the images' height and width, for networks that need to know them.
    Raises `UserError` if torchvision or timm is not installed or lacks the architecture, or if the
    weights are not the network's.
    """
    match options:
        case recipe.D2LResNet18():
            return D2LResNet18(num_classes)
        case recipe.Airbench():
            return Airbench(options, num_classes)
        case recipe.WideResNet():
            return WideResNet(options, num_classes)
        case recipe.SmallCNN():
            return SmallCNN(options, num_classes)
        case recipe.Torchvision() | recipe.Timm():
            return create_library_model(options, num_classes, weights, image_size)
        case recipe.LinearHead() | recipe.MLPHead() | recipe.KNNHead():
            return create_frozen_with_head(options, num_classes, weights, image_size)
