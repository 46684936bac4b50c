"""The networks. Each maps float images [N, 3, H, W] to logits [N, classes]."""

import itertools
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imagepipe.models.whitening import whiten
from imagepipe.models.winograd import Conv3x3

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"gelu": F.gelu, "silu": F.silu}


class Residual(nn.Module):
    """Two 3×3 convolutions and a shortcut, which is a 1×1 convolution where the shape changes.

    Dive into Deep Learning, section 8.6. As there, all convolutions have a bias (of which only the
    shortcut's is trained, see `convolution_to_normalise`), and there is no batch normalisation on
    the shortcut.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = convolution_to_normalise(in_channels, out_channels, stride)
        self.conv2 = convolution_to_normalise(out_channels, out_channels)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = nn.Conv2d(in_channels, out_channels, kernel_size=1, stride=stride)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.bn2 = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return F.relu(y + self.shortcut(x))


class D2LResNet18(nn.Module):
    """The ResNet-18 of Dive into Deep Learning (`d2l.resnet18`).

    It has 11,176,970 parameters for 10 classes. A 3×3 convolution to 64 channels; stages of two
    residual blocks with 64, 128, 256 and 512 channels, the last three of which halve the image;
    the mean over the image; a linear layer.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(convolution_to_normalise(3, 64), nn.BatchNorm2d(64), nn.ReLU())
        stages: list[nn.Module] = []
        in_channels = 64
        for number, out_channels in enumerate((64, 128, 256, 512)):
            stages.append(Residual(in_channels, out_channels, stride=1 if number == 0 else 2))
            stages.append(Residual(out_channels, out_channels))
            in_channels = out_channels
        self.stages = nn.Sequential(*stages)
        self.classifier = nn.Linear(512, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.stages(self.stem(x))
        logits: Tensor = self.classifier(features.mean(dim=(2, 3)))
        return logits


def convolution_to_normalise(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    """Return a 3×3 convolution that a batch normalisation follows; its bias is not trained.

    Batch normalisation subtracts the mean of each channel, and the bias with it. So the gradient of
    the bias is zero but for rounding, and takes a pass over all that the convolution gives.
    """
    convolution = Conv3x3(in_channels, out_channels, stride=stride)
    assert convolution.bias is not None
    convolution.bias.requires_grad = False
    return convolution


class SmallCNN(nn.Module):
    """Three blocks of two 3×3 convolutions, each block ending in a max pooling by 2.

    The blocks have `width`, 2·`width` and 4·`width` channels; the largest value of each channel
    over the image goes to the linear layer.
    """

    def __init__(self, num_classes: int, width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        in_channels = 3
        for out_channels in (width, 2 * width, 4 * width):
            for _ in range(2):
                layers += [
                    Conv3x3(in_channels, out_channels, bias=False),
                    nn.BatchNorm2d(out_channels),
                    nn.ReLU(),
                ]
                in_channels = out_channels
            layers.append(nn.MaxPool2d(2, ceil_mode=True))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(in_channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(largest_of_channels(self.features(x)))
        return logits


def largest_of_channels(features: Tensor) -> Tensor:
    """Return each channel's largest value, [B, C], of features [B, C, H, W].

    The gradient goes to the place where it was found. That of torch.amax looks for the place again,
    and is NaN where a compiled network has lost it: PyTorch leaves rounding to bf16 out between
    operations that it fuses.
    """
    return F.max_pool2d(features, features.shape[2:]).flatten(1)


class Airbench(nn.Module):
    """The network of Keller Jordan's airbench (arXiv 2404.00498), which learns CIFAR-10 in seconds.

    A 2×2 convolution to 24 channels whose weights are made from the training images
    (`whitening.whiten`) and not trained, and GELU; three groups of `widths` channels, of two or
    three convolutions each; the largest value of each channel over the image, to which its mean is
    added with the pooling `max_plus_mean`; a linear layer without bias, whose logits are divided by
    the number of its inputs. Images need `recipe_checks.SMALLEST_IMAGE` pixels at least.
    """

    def __init__(
        self,
        num_classes: int,
        widths: list[int],
        convolutions: int,
        activation: str,
        pooling: str,
        whitening_epsilon: float,
    ) -> None:
        super().__init__()
        self.num_images_for_initialization = 5_000
        self.whitening_epsilon = whitening_epsilon
        self.adds_mean = pooling == "max_plus_mean"
        self.whitening = nn.Conv2d(3, 24, kernel_size=2)
        self.whitening.weight.requires_grad = False
        channels = (self.whitening.out_channels, *widths)
        self.groups = nn.Sequential(
            *(
                AirbenchGroup(before, after, convolutions, ACTIVATIONS[activation])
                for before, after in itertools.pairwise(channels)
            )
        )
        self.classifier = nn.Linear(widths[-1], num_classes, bias=False)
        with torch.no_grad():
            self.classifier.weight /= self.classifier.weight.std()

    def initialize_from_images(self, images: Tensor) -> None:
        whiten(self.whitening, images, self.whitening_epsilon)

    def forward(self, x: Tensor) -> Tensor:
        planes = self.groups(F.gelu(self.whitening(x)))
        features = largest_of_channels(planes)
        if self.adds_mean:
            features = features + planes.mean(dim=(2, 3))
        logits: Tensor = self.classifier(features) / features.shape[1]
        return logits


class AirbenchGroup(nn.Module):
    """Two or three 3×3 convolutions, with a max pooling by 2 after the first.

    Each is followed by a batch normalisation, which has a trained bias and no trained scale, and
    the activation. With three, what the first gives is added to what the third gives, before its
    activation.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        convolutions: int,
        activation: Callable[[Tensor], Tensor],
    ) -> None:
        super().__init__()
        self.activation = activation
        pairs = [(in_channels, out_channels), *[(out_channels, out_channels)] * (convolutions - 1)]
        self.convolutions = nn.ModuleList(passing_convolution(*pair) for pair in pairs)
        # The statistics forget fast, as the network changes fast.
        self.norms = nn.ModuleList(
            nn.BatchNorm2d(out_channels, eps=1e-12, momentum=0.4) for _ in pairs
        )
        for norm in self.norms:
            norm.weight.requires_grad = False

    def forward(self, x: Tensor) -> Tensor:
        convolution = self.convolutions[0]
        assert isinstance(convolution, Conv3x3)
        first = self.activation(self.norms[0](convolution.pooled(x)))
        x = self.activation(self.norms[1](self.convolutions[1](first)))
        if len(self.convolutions) == 3:
            x = self.activation(self.norms[2](self.convolutions[2](x)) + first)
        return x


def passing_convolution(in_channels: int, out_channels: int) -> Conv3x3:
    """Return a 3×3 convolution whose first filters pass their input through (torch.nn.init.dirac_).

    So the gradient, and what the first layers see, reach all layers from the first step on.
    """
    convolution = Conv3x3(in_channels, out_channels, bias=False)
    nn.init.dirac_(convolution.weight.data[:in_channels])
    return convolution
