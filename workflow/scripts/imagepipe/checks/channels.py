"""The means and deviations of the channels, measured."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from imagepipe.dataset.packed import PackedFile
from imagepipe.progress import counter


@dataclass(frozen=True)
class ChannelFigures:
    """Of the red, green and blue values in 0…1, rounded to four decimals.

    Two deviations are in use, and a dataset file may have either: that of all pixels, and the mean
    of the images' own, which leaves out by how much whole images are brighter or darker. The well
    known figures of CIFAR-10, 0.2023, 0.1994 and 0.2010, are of the second kind; those of the first
    are 0.247, 0.243 and 0.262.
    """

    means: list[float]
    deviations: list[float]
    image_deviations: list[float]


def measure_channels(array: Path) -> ChannelFigures:
    """Measure a packed array, uint8 [N, H, W, 3]. N must be at least 1."""
    file = PackedFile.from_array(array)
    # Whole numbers until the end: exact, and the same for chunks of any size.
    sums, squares = (np.empty((len(file), 3), dtype=np.int64) for _ in range(2))
    done = 0
    with counter(total=len(file), description="measure channels", unit="images") as bar:
        for images in file.chunks():
            rows = slice(done, done + len(images))
            # Each channel in one piece of memory, where adding up is fast.
            planes = images.reshape(len(images), -1, 3).transpose(0, 2, 1).astype(np.int32, "C")
            sums[rows] = planes.sum(axis=2, dtype=np.int64)
            squares[rows] = np.square(planes).sum(axis=2, dtype=np.int64)
            done += len(images)
            bar.advance(len(images))
    pixels = file.shape[1] * file.shape[2]
    means, deviations = _means_and_deviations(sums.sum(axis=0), squares.sum(axis=0), done * pixels)
    image_deviations = _means_and_deviations(sums, squares, pixels)[1].mean(axis=0)
    return ChannelFigures(*map(_rounded, (means, deviations, image_deviations)))


def _means_and_deviations(
    sums: np.ndarray, squares: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return means and deviations in 0…1 of `count` values in 0…255 each, float64."""
    means = sums / count
    return means / 255, np.sqrt(np.maximum(squares / count - means**2, 0)) / 255


def _rounded(figures: np.ndarray) -> list[float]:
    """Round to four decimals, as in dataset files."""
    return [round(float(figure), 4) for figure in figures]
