"""Normalized images have mean 0 and standard deviation 1."""

import torch

from image_builders import CPU, MEAN, STD, noise
from imagepipe.augmentation.normalize import Normalize


def test_it_subtracts_the_mean_and_divides_by_the_std_of_each_channel() -> None:
    images = noise(3, size=5)
    result = Normalize.from_statistics(MEAN, STD, CPU)(images.permute(0, 3, 1, 2))
    assert result.shape == (3, 3, 5, 5)
    for channel in range(3):
        expected = (images[..., channel].float() / 255 - MEAN[channel]) / STD[channel]
        torch.testing.assert_close(result[:, channel], expected, rtol=0, atol=1e-5)


def test_it_is_undone() -> None:
    images = noise(3, size=5).permute(0, 3, 1, 2)
    normalize = Normalize.from_statistics(MEAN, STD, CPU)
    torch.testing.assert_close(normalize.undo(normalize(images)), images.float(), rtol=0, atol=1e-3)
