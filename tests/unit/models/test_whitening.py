"""The first convolution of airbench: what comes out of it is white."""

import pytest
import torch
from torch import nn

from imagepipe.models.whitening import whiten

EPSILON = 5e-4


def smooth_images(count: int) -> torch.Tensor:
    """Return images whose neighbouring pixels and whose channels are alike, as in photos."""
    noise = torch.randn(count, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    large = nn.functional.interpolate(noise, size=(16, 16), mode="bilinear")
    colours = torch.tensor([1.0, 0.9, 0.5])[:, None, None]
    own = torch.randn(count, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    return large * colours + 0.2 * own


def whitened(images: torch.Tensor, epsilon: float = EPSILON) -> torch.Tensor:
    """Return what a whitening convolution without bias makes of images, as rows of 24 numbers."""
    convolution = nn.Conv2d(3, 24, kernel_size=2)
    nn.init.zeros_(convolution.bias)
    whiten(convolution, images, epsilon)
    with torch.no_grad():
        return convolution(images).permute(0, 2, 3, 1).reshape(-1, 24)


@pytest.mark.parametrize("epsilon", [EPSILON, 0.05])
def test_what_comes_out_is_uncorrelated_and_of_size_one(epsilon: float) -> None:
    images = smooth_images(1_100)
    patches = nn.functional.unfold(images, 2).transpose(1, 2).reshape(-1, 12)
    moment_before = patches.T @ patches / len(patches)
    outputs = whitened(images, epsilon)[:, :12]
    moment = outputs.T @ outputs / len(outputs)
    diagonal = moment.diagonal()
    assert (moment_before - torch.diag(moment_before.diagonal())).abs().max() > 0.3
    assert (moment - torch.diag(diagonal)).abs().max() < 0.01
    # λ / (λ + ε): less than one where an eigenvalue is as small as ε.
    values = torch.linalg.eigvalsh(moment_before)
    torch.testing.assert_close(diagonal, values / (values + epsilon), rtol=1e-2, atol=1e-2)


def test_the_second_half_is_the_negative_of_the_first() -> None:
    outputs = whitened(smooth_images(10))
    torch.testing.assert_close(outputs[:, 12:], -outputs[:, :12])
