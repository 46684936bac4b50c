"""Named random generators, in place of one global stream.

Each is derived from the seed and from what it is for, so that a training that is resumed, or that
does one thing more or less, draws the same numbers for everything else.
"""

import hashlib

import torch


def derived_seed(seed: int, *purpose: str | int) -> int:
    """Return a 63-bit seed for a purpose, such as ("order", epoch)."""
    name = "/".join(map(str, (seed, *purpose)))
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *purpose: str | int) -> torch.Generator:
    """Return a generator on the CPU, whose numbers are the same whatever the training's device."""
    return torch.Generator().manual_seed(derived_seed(seed, *purpose))


def seed_layers(device: torch.device, seed: int, *purpose: str | int) -> None:
    """Seed the generators that a network's own layers draw from, such as a dropout's.

    torch.manual_seed does the same for every device there is, and takes a hundred times as long.
    """
    number = derived_seed(seed, *purpose)
    torch.default_generator.manual_seed(number)
    if device.type == "cuda":
        torch.cuda.manual_seed(number)
    elif device.type == "mps":
        torch.mps.manual_seed(number)
