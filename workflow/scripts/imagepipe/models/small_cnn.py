"""A small network without shortcuts."""

from torch import Tensor, nn

from imagepipe.config import recipe
from imagepipe.models.layers import Conv3x3, global_max_pool


class SmallCNN(nn.Module):
    """Three blocks of two 3×3 convolutions; global max pooling; a linear layer.

    The blocks have 1, 2 and 4 times `width` channels, and each ends with max pooling by 2.
    """

    def __init__(self, options: recipe.SmallCNN, num_classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for width in (options.width, 2 * options.width, 4 * options.width):
            for _ in range(2):
                layers += [Conv3x3(channels, width, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
                channels = width
            layers.append(nn.MaxPool2d(2, ceil_mode=True))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(global_max_pool(self.features(x)))
        return logits
