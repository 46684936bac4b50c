"""A first convolution that whitens: its outputs are uncorrelated and of like size.

As in airbench (Keller Jordan, arXiv 2404.00498, section 3.2), after Page's ResNet
(https://github.com/davidcpage/cifar10-fast).
"""

import torch
from torch import Tensor, nn

# Added to the eigenvalues, so that directions which hardly occur are not blown up.
EPSILON = 5e-4
IMAGES_AT_ONCE = 500


@torch.no_grad()
def whiten(convolution: nn.Conv2d, images: Tensor) -> None:
    """Set a convolution's weights so that it whitens the patches of `images`.

    The filters are the eigenvectors of the patches' uncentred second moment, each divided by the
    root of its eigenvalue, and then their negatives, so the convolution has twice as many outputs
    as a patch has numbers. images: standardised, float [N, 3, H, W], on any device.
    """
    size = convolution.kernel_size[0]
    numbers = convolution.in_channels * size**2
    moment = torch.zeros(numbers, numbers, dtype=torch.float64)
    count = 0
    for start in range(0, len(images), IMAGES_AT_ONCE):
        part = images[start : start + IMAGES_AT_ONCE].cpu()
        patches = nn.functional.unfold(part, size).transpose(1, 2).reshape(-1, numbers)
        moment += (patches.T @ patches).double()
        count += len(patches)
    values, vectors = torch.linalg.eigh(moment / count)
    filters = (vectors / (values + EPSILON).sqrt()).T.reshape(-1, *convolution.weight.shape[1:])
    convolution.weight.copy_(torch.cat((filters, -filters)))
