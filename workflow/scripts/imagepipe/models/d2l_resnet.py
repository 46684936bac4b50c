"""The ResNet-18 of Dive into Deep Learning."""

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from imagepipe.models.layers import Conv3x3


class D2LResNet18(nn.Module):
    """The book's `d2l.resnet18`: 11,176,970 parameters with 10 classes.

    A 3×3 convolution to 64 channels; four stages of two residual blocks with 64, 128, 256 and 512
    channels, the last three of which halve the image; global average pooling; a linear layer.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(conv_before_norm(3, 64), nn.BatchNorm2d(64), nn.ReLU())
        blocks: list[nn.Module] = []
        for before, after in pairwise((64, 64, 128, 256, 512)):
            blocks += [Residual(before, after, stride=after // before), Residual(after, after)]
        self.stages = nn.Sequential(*blocks)
        self.classifier = nn.Linear(512, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.stages(self.stem(x))
        logits: Tensor = self.classifier(features.mean(dim=(2, 3)))
        return logits


class Residual(nn.Module):
    """Two 3×3 convolutions and a shortcut, which is a 1×1 convolution where the shape changes.

    Dive into Deep Learning, section 8.6. As in the book, every convolution has a bias, and the
    shortcut has no batch normalization.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = conv_before_norm(in_channels, out_channels, stride)
        self.conv2 = conv_before_norm(out_channels, out_channels)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = nn.Conv2d(in_channels, out_channels, kernel_size=1, stride=stride)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.bn2 = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return F.relu(y + self.shortcut(x))


def conv_before_norm(in_channels: int, out_channels: int, stride: int = 1) -> Conv3x3:
    """Return a 3×3 convolution for use before batch normalization; its bias is frozen.

    Batch normalization subtracts each channel's mean, and the bias with it. The bias's gradient is
    zero up to rounding, but would take a pass over the whole output.
    """
    convolution = Conv3x3(in_channels, out_channels, stride=stride)
    assert convolution.bias is not None
    convolution.bias.requires_grad = False
    return convolution
