"""The wide residual network of Zagoruyko and Komodakis (arXiv 1605.07146)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imagepipe.config import recipe
from imagepipe.models.layers import Conv3x3


class WideResNet(nn.Module):
    """A 3×3 convolution to 16 channels, and three groups of (depth − 4) / 6 residual blocks.

    The groups have 16, 32 and 64 times `widening_factor` channels, and the last two halve the
    image. Then come batch normalization, ReLU, global average pooling and a linear layer.
    WRN-28-10 has 36.5 million parameters with 10 classes (table 5 of the paper).
    """

    def __init__(self, options: recipe.WideResNet, num_classes: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, kernel_size=3, padding=1, bias=False)
        blocks: list[nn.Module] = []
        channels = 16
        for group in range(3):
            width = 16 * 2**group * options.widening_factor
            for block in range((options.depth - 4) // 6):
                blocks.append(WideBlock(channels, width, 2 if group > 0 and block == 0 else 1))
                channels = width
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.BatchNorm2d(channels)
        self.classifier = nn.Linear(channels, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                # He et al. (arXiv 1502.01852), as in the authors' program.
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        features = F.relu(self.norm(self.blocks(self.stem(x))))
        logits: Tensor = self.classifier(features.mean(dim=(2, 3)))
        return logits


class WideBlock(nn.Module):
    """Two times batch normalization, ReLU and a 3×3 convolution, with a shortcut around them.

    Where the shape changes, the shortcut is a 1×1 convolution of the first ReLU's output.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.conv1 = Conv3x3(in_channels, out_channels, stride=stride, bias=False)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.conv2 = Conv3x3(out_channels, out_channels, bias=False)
        self.shortcut: nn.Module | None = None
        if stride != 1 or in_channels != out_channels:
            self.shortcut = nn.Conv2d(
                in_channels, out_channels, kernel_size=1, stride=stride, bias=False
            )

    def forward(self, x: Tensor) -> Tensor:
        activated = F.relu(self.norm1(x))
        shortcut = x if self.shortcut is None else self.shortcut(activated)
        y = self.conv2(F.relu(self.norm2(self.conv1(activated))))
        return torch.add(y, shortcut)
