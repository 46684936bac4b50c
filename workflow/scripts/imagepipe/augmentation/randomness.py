"""Named random generators instead of one global stream.

Each one's seed depends on the training's seed and on the purpose of the numbers alone. So a resumed
training, or one with another augmentation, draws the same numbers for everything else.
"""

import hashlib

import torch


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
