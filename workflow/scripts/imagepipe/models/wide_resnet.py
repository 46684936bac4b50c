"""The wide residual network of Zagoruyko and Komodakis (arXiv 1605.07146)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imagepipe.models.winograd import Conv3x3


class WideResNet(nn.Module):
    """A 3×3 convolution to 16 channels, and three groups of (depth − 4) / 6 residual blocks.

    The groups have 16, 32 and 64 times `widening_factor` channels, and the last two halve the
    image; then come a batch normalisation, a ReLU, the mean over the image, and a linear layer.
    WRN-28-10 has 36.5 million parameters for 10 classes (table 5 of the paper).
    """

    def __init__(self, num_classes: int, depth: int, widening_factor: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, kernel_size=3, padding=1, bias=False)
        blocks: list[nn.Module] = []
        in_channels = 16
        for group in range(3):
            out_channels = 16 * 2**group * widening_factor
            for block in range((depth - 4) // 6):
                stride = 2 if group > 0 and block == 0 else 1
                blocks.append(WideBlock(in_channels, out_channels, stride))
                in_channels = out_channels
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.BatchNorm2d(in_channels)
        self.classifier = nn.Linear(in_channels, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                # He et al., arXiv 1502.01852, as in the authors' own program.
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        features = F.relu(self.norm(self.blocks(self.stem(x))))
        logits: Tensor = self.classifier(features.mean(dim=(2, 3)))
        return logits


class WideBlock(nn.Module):
    """Twice a batch normalisation, a ReLU and a 3×3 convolution, and a shortcut around them.

    Where the shape changes, the shortcut is a 1×1 convolution of what the first ReLU gives.
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
        beside = x if self.shortcut is None else self.shortcut(activated)
        y = self.conv2(F.relu(self.norm2(self.conv1(activated))))
        return torch.add(y, beside)
