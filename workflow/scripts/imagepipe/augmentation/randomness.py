"""Named random generators instead of one global stream.

Each one's seed depends on the training's seed and on the purpose of the numbers alone. So a resumed
training, or one with another augmentation, draws the same numbers for everything else.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


def derived_seed(seed: int, *purpose: str | int) -> int:
    """Return a 63-bit seed for a purpose, such as ("order", epoch)."""
    name = "/".join(map(str, (seed, *purpose)))
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *purpose: str | int) -> torch.Generator:
    """Return a generator on the CPU, so that the numbers are the same on every device."""
    return torch.Generator().manual_seed(derived_seed(seed, *purpose))


def seed_layers(device: torch.device, seed: int, *purpose: str | int) -> None:
    """Seed the global generators, from which layers such as dropout draw.

    torch.manual_seed does so for all devices, and takes a hundred times as long.
    """
    number = derived_seed(seed, *purpose)
    torch.default_generator.manual_seed(number)
    if device.type == "cuda":
        torch.cuda.manual_seed(number)
    elif device.type == "mps":
        torch.mps.manual_seed(number)


@dataclass(frozen=True)
class EpochNumbers:
    """Random numbers for an epoch and its N images, each purpose with a generator of its own."""

    num_images: int
    seed: int
    epoch: int

    def uniform(
        self, purpose: str, low: float = 0.0, high: float = 1.0, per_image: Sequence[int] = ()
    ) -> Tensor:
        """Return float32 numbers [N, *per_image], uniform on low … high."""
        numbers = torch.rand(
            self.num_images, *per_image, generator=generator(self.seed, purpose, self.epoch)
        )
        return low + (high - low) * numbers

    def integers(self, purpose: str, low: int, high: Tensor | int) -> Tensor:
        """Return int64 numbers [N], uniform on low … high, both included."""
        return low + (self.uniform(purpose) * (high - low + 1)).long()
