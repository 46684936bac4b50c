"""The mean and the standard deviation of the color channels."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from imagepipe.dataset.channels import mean_and_std
from imagepipe.dataset.packed import PackedFile
from imagepipe.progress import counter


@dataclass(frozen=True)
class ChannelStatistics:
    """Of the red, green and blue values in 0…1, rounded to four decimals.

    Dataset files may have either of two standard deviations: `std` of all pixels, or `image_std`,
    the mean of each image's own, which is not affected by how bright whole images are. The
    well-known values of CIFAR-10, 0.2023, 0.1994 and 0.2010, are of the second kind; those of the
    first are 0.247, 0.243 and 0.262.
    """

    mean: list[float]
    std: list[float]
    image_std: list[float]


def measure_channels(array: Path) -> ChannelStatistics:
    """Measure a packed array, uint8 [N, H, W, 3], N at least 1."""
    file = PackedFile.from_array(array)
    # Integers until the end: exact, whatever the size of the chunks.
    sums, squares = (np.empty((len(file), 3), dtype=np.int64) for _ in range(2))
    done = 0
    with counter(total=len(file), description="measure channels", unit="images") as bar:
        for images in file.chunks():
            rows = slice(done, done + len(images))
            # Each channel contiguous, which is faster to add up.
            planes = images.reshape(len(images), -1, 3).transpose(0, 2, 1).astype(np.int32, "C")
            sums[rows] = planes.sum(axis=2, dtype=np.int64)
            squares[rows] = np.square(planes).sum(axis=2, dtype=np.int64)
            done += len(images)
            bar.advance(len(images))
    pixels = file.shape[1] * file.shape[2]
    mean, std = mean_and_std(sums.sum(axis=0), squares.sum(axis=0), done * pixels)
    image_std = mean_and_std(sums, squares, pixels)[1].mean(axis=0)
    return ChannelStatistics(*(values.round(4).tolist() for values in (mean, std, image_std)))
