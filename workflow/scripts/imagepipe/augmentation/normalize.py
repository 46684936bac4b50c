"""From bytes to what the network sees: channels with mean 0 and deviation 1."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Normalize:
    """x · factor − offset for each channel; both are float32 [3, 1, 1], on the images' device."""

    factor: Tensor
    offset: Tensor

    @classmethod
    def from_statistics(
        cls, mean: Sequence[float], std: Sequence[float], device: torch.device
    ) -> "Normalize":
        """Make it from the means and deviations of the channels in 0…1."""
        factor = 1 / (255 * torch.tensor(std))[:, None, None]
        offset = torch.tensor(mean)[:, None, None] * 255 * factor
        return cls(factor.to(device), offset.to(device))

    def __call__(self, images: Tensor) -> Tensor:
        """Return float images [B, 3, H, W] from images in 0…255, uint8 or float, of that shape."""
        return images.float() * self.factor - self.offset
