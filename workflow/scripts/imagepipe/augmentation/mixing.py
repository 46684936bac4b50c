"""Mixed images: each shares its place with its partner, and its label, too.

The partner of a batch's first image is its last one, and so on: the order of the images is random
already.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from imagepipe.augmentation.transforms import AugmentationDraws
from imagepipe.config.recipe import Augmentation


@dataclass(frozen=True)
class MixedLabels:
    """What the labels of images are: `lam` of its own, and the rest of its partner's.

    labels, partner_labels: int64 [B]. lam: float [B], in 0…1. The last two are None where nothing
    is mixed.
    """

    labels: Tensor
    partner_labels: Tensor | None = None
    lam: Tensor | None = None

    def select(self, chunk: slice) -> "MixedLabels":
        """Return what the labels of some of the images are."""
        others = (self.partner_labels, self.lam)
        return MixedLabels(
            self.labels[chunk], *(None if tensor is None else tensor[chunk] for tensor in others)
        )


def mix_batch(
    images: Tensor, labels: Tensor, options: Augmentation, draws: AugmentationDraws
) -> tuple[Tensor, MixedLabels]:
    """Mix a batch of float images [B, 3, H, W] by the recipe's `augmentation`: `mixup` or `cutmix`.

    Without either, the images come back as they are, each with its own label alone.
    """
    partners, lam = images.flip(0), draws.lam
    if options.mixup:
        images = blended(images, partners, lam)
    elif options.cutmix:
        images, lam = patched(images, partners, lam, draws.cutmix_row, draws.cutmix_column)
    else:
        return images, MixedLabels(labels)
    return images, MixedLabels(labels, labels.flip(0), lam)


def blended(images: Tensor, partners: Tensor, lam: Tensor) -> Tensor:
    """Return lam · image + (1 − lam) · partner (mixup: Zhang et al., arXiv 1710.09412)."""
    return torch.lerp(partners, images, lam[:, None, None, None])


def patched(
    images: Tensor, partners: Tensor, lam: Tensor, row: Tensor, column: Tensor
) -> tuple[Tensor, Tensor]:
    """Replace a square of each image by its partner's (CutMix: Yun et al., arXiv 1905.04899).

    The square has the part 1 − lam of the area, and its centre at row and column, in 0…1; what
    is beyond the edge is lost. Returns the images, and the shares that are really left.
    """
    size = images.shape[-1]
    half = (1 - lam).sqrt() * size / 2
    pixels = torch.arange(size, device=images.device) + 0.5
    in_rows = (pixels - size * row[:, None]).abs() < half[:, None]
    in_columns = (pixels - size * column[:, None]).abs() < half[:, None]
    square = in_rows[:, :, None] & in_columns[:, None, :]
    return torch.where(square[:, None], partners, images), 1 - square.float().mean(dim=(1, 2))
