"""From bytes to the input of a network: channels with mean 0 and standard deviation 1."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Normalize:
    """x · scale − offset for each channel; both are float32 [3, 1, 1], on the images' device."""

    scale: Tensor
    offset: Tensor

    @classmethod
    def from_statistics(
        cls, mean: Sequence[float], std: Sequence[float], device: torch.device
    ) -> "Normalize":
        """Make it from the mean and standard deviation of each channel in 0…1."""
        scale = 1 / (255 * torch.tensor(std))[:, None, None]
        offset = torch.tensor(mean)[:, None, None] * 255 * scale
        return cls(scale.to(device), offset.to(device))

    def __call__(self, images: Tensor) -> Tensor:
        """Return normalized float32 images of uint8 or float images [B, 3, H, W] in 0…255."""
        return images.float() * self.scale - self.offset

    def undo(self, images: Tensor) -> Tensor:
        """Return float32 images in 0…255 of normalized ones [B, 3, H, W]."""
        return (images + self.offset) / self.scale
