"""Creating the network of a recipe."""

from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from imagepipe.config import recipe
from imagepipe.models.library_models import create_library_model
from imagepipe.models.networks import Airbench, D2LResNet18, SmallCNN
from imagepipe.models.wide_resnet import WideResNet


@runtime_checkable
class InitializedFromImages(Protocol):
    """A network that sets weights from training images."""

    num_images_for_initialization: int

    def initialize_from_images(self, images: Tensor) -> None: ...


def create_model(options: recipe.Model, num_classes: int) -> nn.Module:
    """Return the network of a recipe's `model` section, with new random weights."""
    match options:
        case recipe.D2LResNet18():
            return D2LResNet18(num_classes)
        case recipe.SmallCNN():
            return SmallCNN(num_classes, options.width)
        case recipe.Airbench():
            return Airbench(
                num_classes,
                options.widths,
                options.convolutions,
                activation=options.activation,
                pooling=options.pooling,
                whitening_epsilon=options.whitening_epsilon,
            )
        case recipe.WideResNet():
            return WideResNet(num_classes, options.depth, options.widening_factor)
    return create_library_model(options.name, options.architecture, num_classes)
