"""The network of Keller Jordan's airbench (arXiv 2404.00498), which learns CIFAR-10 in seconds."""

from collections.abc import Callable, Iterable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imagepipe.config import recipe
from imagepipe.models.layers import Conv3x3, global_max_pool

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"gelu": F.gelu, "silu": F.silu}


class Airbench(nn.Module):
    """A whitening convolution and GELU; three groups of convolutions; pooling; a linear layer.

    The whitening convolution is 2×2, to 24 channels; `initialize_from_images` sets its weights,
    which are not trained. Global max pooling, plus global average pooling with `max_plus_mean`,
    feeds a linear layer without bias. The logits are divided by the number of its inputs. Images
    need at least 9×9 pixels.
    """

    num_images_for_initialization = 5_000

    def __init__(self, options: recipe.Airbench, num_classes: int) -> None:
        super().__init__()
        self.whitening_epsilon = options.whitening_epsilon
        self.adds_mean = options.pooling == "max_plus_mean"
        self.whitening = nn.Conv2d(3, 24, kernel_size=2)
        self.whitening.weight.requires_grad = False
        activation = ACTIVATIONS[options.activation]
        self.groups = nn.Sequential(
            *(
                AirbenchGroup(before, after, options.convolutions, activation)
                for before, after in pairwise((24, *options.widths))
            )
        )
        self.classifier = nn.Linear(options.widths[-1], num_classes, bias=False)
        with torch.no_grad():
            self.classifier.weight /= self.classifier.weight.std()

    def initialize_from_images(self, chunks: Iterable[Tensor]) -> None:
        """Set the whitening weights from chunks of normalized float images [N, 3, H, W]."""
        whiten(self.whitening, chunks, self.whitening_epsilon)

    def forward(self, x: Tensor) -> Tensor:
        maps = self.groups(F.gelu(self.whitening(x)))
        features = global_max_pool(maps)
        if self.adds_mean:
            features = features + maps.mean(dim=(2, 3))
        logits: Tensor = self.classifier(features) / features.shape[1]
        return logits


class AirbenchGroup(nn.Module):
    """Two or three 3×3 convolutions, with max pooling by 2 after the first.

    Batch normalization, with a trained bias and a fixed scale of 1, and the activation follow each
    convolution. With three, the first activation is added to the last normalization's output.
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
        inputs = [in_channels, *[out_channels] * (convolutions - 1)]
        self.convolutions = nn.ModuleList(identity_convolution(one, out_channels) for one in inputs)
        # The network changes fast, so that old batches say little about its statistics.
        self.norms = nn.ModuleList(
            nn.BatchNorm2d(out_channels, eps=1e-12, momentum=0.4) for _ in inputs
        )
        for norm in self.norms:
            norm.weight.requires_grad = False

    def forward(self, x: Tensor) -> Tensor:
        convolution = self.convolutions[0]
        assert isinstance(convolution, Conv3x3)
        first = self.activation(self.norms[0](convolution.forward_and_pool(x)))
        x = self.activation(self.norms[1](self.convolutions[1](first)))
        if len(self.convolutions) == 3:
            x = self.activation(self.norms[2](self.convolutions[2](x)) + first)
        return x


def identity_convolution(in_channels: int, out_channels: int) -> Conv3x3:
    """Return a 3×3 convolution whose first filters copy their input (torch.nn.init.dirac_).

    Thus activations and gradients reach all layers from the first step on.
    """
    convolution = Conv3x3(in_channels, out_channels, bias=False)
    nn.init.dirac_(convolution.weight.data[:in_channels])
    return convolution


# Of the largest one. In color, even drawn images have more in every direction.
SMALLEST_EIGENVALUE = 1e-8


@torch.no_grad()
def whiten(convolution: nn.Conv2d, chunks: Iterable[Tensor], epsilon: float) -> None:
    """Set a convolution's weights so that its outputs on images are uncorrelated.

    The filters are the eigenvectors of the uncentered second moment of the image patches, each
    divided by the root of its eigenvalue plus `epsilon`, which keeps rare directions small. Then
    come the negatives of these filters. From airbench (section 3.2 of the paper), after Page's
    ResNet (https://github.com/davidcpage/cifar10-fast). chunks: normalized float images
    [n, 3, H, W].

    In grey images, most directions are empty: a filter for one would give a constant, which batch
    normalization divides by almost nothing. So the filters of the largest eigenvalues take their
    places.
    """
    height, width = convolution.kernel_size
    length = convolution.in_channels * height * width
    moment, count = torch.zeros(length, length, dtype=torch.float64), 0
    for chunk in chunks:
        patches = chunk.unfold(2, height, 1).unfold(3, width, 1)
        patches = patches.permute(1, 4, 5, 0, 2, 3).reshape(length, -1)
        moment += (patches @ patches.T).cpu().double()
        count += patches.shape[1]
    eigenvalues, eigenvectors = torch.linalg.eigh(moment / count)
    directions = torch.arange(length)
    used = directions[eigenvalues > SMALLEST_EIGENVALUE * eigenvalues[-1]].flip(0)
    if 0 < len(used) < length:
        empty = directions[: length - len(used)]
        directions[: length - len(used)] = used[empty % len(used)]
        eigenvalues, eigenvectors = eigenvalues[directions], eigenvectors[:, directions]
    filters = (eigenvectors / (eigenvalues + epsilon).sqrt()).T
    filters = filters.reshape(-1, *convolution.weight.shape[1:])
    convolution.weight.copy_(torch.cat((filters, -filters)))
