"""The mean and the standard deviation of the color channels."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from imagepipe.files import write_text

# A channel of one color has no deviation, and training divides by it: a step of 8 bits.
LEAST_STD = 0.0039


@dataclass(frozen=True)
class Channels:
    """Mean and standard deviation of the red, green and blue values, in 0…1."""

    mean: list[float]
    std: list[float]


def channels_from_histogram(histogram: np.ndarray) -> Channels:
    """Return the statistics, rounded to four decimals, of values counted by channel, [3, 256].

    A std is at least `LEAST_STD`.
    """
    values = np.arange(256)
    counts = histogram.sum(axis=1)
    mean, std = mean_and_std(histogram @ values, histogram @ values**2, counts)
    return Channels(mean.round(4).tolist(), np.maximum(std.round(4), LEAST_STD).tolist())


def mean_and_std(
    sums: np.ndarray, squares: np.ndarray, count: int | np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and std in 0…1, float64, from the sums of `count` values in 0…255."""
    mean = sums / count
    return mean / 255, np.sqrt(np.maximum(squares / count - mean**2, 0)) / 255


def write_channels(path: Path, channels: Channels) -> None:
    """Write the statistics as JSON, {"mean": [red, green, blue], "std": […]}."""
    write_text(path, json.dumps(asdict(channels)) + "\n")


def read_channels(path: Path) -> Channels:
    """Read what `write_channels` wrote."""
    return Channels(**json.loads(path.read_text(encoding="utf-8")))
