"""The order in which an epoch shows the training images, and how often each."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from imagepipe.augmentation.randomness import generator
from imagepipe.training.loss import images_per_class


@dataclass(frozen=True)
class BalancedSampling:
    """Draws images with replacement so that every class is as frequent.

    cumulative: float64 [N], the sum of the images' probabilities up to each one.
    """

    cumulative: Tensor

    @classmethod
    def from_labels(cls, labels: np.ndarray, num_classes: int) -> "BalancedSampling":
        """Make it from the labels of the training images, [N] or [N, classes] of 0 and 1.

        An image of several classes counts as one of its rarest; those of none count as a class.
        """
        counts = images_per_class(labels, num_classes)
        if labels.ndim == 2:
            has_none = labels.sum(axis=1) == 0
            counts_of_images = np.where(labels, counts, len(labels) + 1).min(axis=1)
            counts_of_images[has_none] = has_none.sum()
        else:
            counts_of_images = counts[labels]
        return cls(torch.from_numpy(np.cumsum(1 / counts_of_images)))

    def draw(self, seed: int, epoch: int) -> Tensor:
        """Return the images of an epoch, int64 [N] in 0…N − 1."""
        count = len(self.cumulative)
        uniform = torch.rand(
            count, dtype=torch.float64, generator=generator(seed, "sampling", epoch)
        )
        drawn = torch.searchsorted(self.cumulative, uniform * self.cumulative[-1], right=True)
        return drawn.clamp(max=count - 1)


def epoch_order(
    num_images: int, sampling: BalancedSampling | None, seed: int, epoch: int
) -> tuple[Tensor, Tensor]:
    """Return an epoch's images in their order, and the augmentation draws that each one gets.

    Both are int64 [N], indices in 0…N − 1. Without `sampling`, every image comes once.
    """
    if sampling is None:
        order = torch.randperm(num_images, generator=generator(seed, "order", epoch))
        return order, order
    # An image that comes twice is changed in two ways.
    return sampling.draw(seed, epoch), torch.arange(num_images)
