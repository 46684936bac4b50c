"""From bytes to what the network sees: channels with mean 0 and deviation 1."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Standardisation:
    """x · factor − offset for each channel; both are float32 [3, 1, 1], on the images' device."""

    factor: Tensor
    offset: Tensor

    @classmethod
    def of(
        cls, means: Sequence[float], deviations: Sequence[float], device: torch.device
    ) -> "Standardisation":
        """Make it from the means and deviations of the channels in 0…1."""
        factor = 1 / (255 * torch.tensor(deviations))[:, None, None]
        offset = torch.tensor(means)[:, None, None] * 255 * factor
        return cls(factor.to(device), offset.to(device))

    def apply(self, images: Tensor) -> Tensor:
        """Return float images [B, 3, H, W] from images in 0…255, uint8 or float, of that shape."""
        return images.float() * self.factor - self.offset
