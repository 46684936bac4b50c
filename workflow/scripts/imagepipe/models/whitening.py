"""A first convolution that whitens: its outputs are uncorrelated and of like size.

As in airbench (Keller Jordan, arXiv 2404.00498, section 3.2), after Page's ResNet
(https://github.com/davidcpage/cifar10-fast).
"""

import torch
from torch import Tensor, nn

IMAGES_AT_ONCE = 500


@torch.no_grad()
def whiten(convolution: nn.Conv2d, images: Tensor, epsilon: float) -> None:
    """Set a convolution's weights so that it whitens the patches of `images`.

    The filters are the eigenvectors of the patches' uncentred second moment, each divided by the
    root of its eigenvalue, and then their negatives, so the convolution has twice as many outputs
    as a patch has numbers. images: standardised, float [N, 3, H, W], on any device. epsilon: added
    to the eigenvalues, so that directions which hardly occur are not blown up, above 0.
    """
    channels, size = convolution.in_channels, convolution.kernel_size[0]
    height, width = images.shape[2] - size + 1, images.shape[3] - size + 1
    corners = [(row, column) for row in range(size) for column in range(size)]
    moment = torch.zeros(channels * size**2, channels * size**2, dtype=torch.float64)
    for part in torch.split(images, IMAGES_AT_ONCE):
        planes = part.transpose(0, 1).contiguous()
        shifted = [
            planes[:, :, row : row + height, column : column + width].reshape(channels, -1)
            for row, column in corners
        ]
        numbers = torch.stack(shifted, dim=1).reshape(len(moment), -1)
        moment += (numbers @ numbers.T).cpu().double()
    moment /= len(images) * height * width
    values, vectors = torch.linalg.eigh(moment)
    filters = (vectors / (values + epsilon).sqrt()).T.reshape(-1, *convolution.weight.shape[1:])
    convolution.weight.copy_(torch.cat((filters, -filters)))
