"""Mixup and CutMix: each image, and its label, is mixed with a partner's.

The partner of a batch's first image is its last one, and so on. The order of the images is random
already.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from imagepipe.augmentation.transforms import AugmentationDraws
from imagepipe.config.recipe import Augmentation


@dataclass(frozen=True)
class MixedLabels:
    """The targets of B images: lam · label + (1 − lam) · partner's label.

    labels, partner_labels: int64 [B]. lam: float32 [B] in 0…1. The last two are None without
    mixing.
    """

    labels: Tensor
    partner_labels: Tensor | None = None
    lam: Tensor | None = None

    def select(self, chunk: slice) -> "MixedLabels":
        """Return the targets of some of the images."""
        if self.partner_labels is None or self.lam is None:
            return MixedLabels(self.labels[chunk])
        return MixedLabels(self.labels[chunk], self.partner_labels[chunk], self.lam[chunk])


def mix_batch(
    images: Tensor, labels: Tensor, options: Augmentation, draws: AugmentationDraws
) -> tuple[Tensor, MixedLabels]:
    """Mix float images [B, 3, H, W] and labels int64 [B] by `mixup` or `cutmix`, if one is set."""
    partners, lam = images.flip(0), draws.lam
    if options.mixup:
        images = mixup(images, partners, lam)
    elif options.cutmix:
        images, lam = cutmix(images, partners, lam, draws.cutmix_row, draws.cutmix_column)
    else:
        return images, MixedLabels(labels)
    return images, MixedLabels(labels, labels.flip(0), lam)


def mixup(images: Tensor, partners: Tensor, lam: Tensor) -> Tensor:
    """Return lam · image + (1 − lam) · partner (Zhang et al., arXiv 1710.09412)."""
    return torch.lerp(partners, images, lam[:, None, None, None])


def cutmix(
    images: Tensor, partners: Tensor, lam: Tensor, row: Tensor, column: Tensor
) -> tuple[Tensor, Tensor]:
    """Replace a square of each image by its partner's (Yun et al., arXiv 1905.04899).

    The square's area is 1 − lam of the image, its center is at row and column in 0…1, and the
    image's edge clips it. Returns the images, and lam by the clipped area.
    """
    size = images.shape[-1]
    half = (1 - lam).sqrt() * size / 2
    pixels = torch.arange(size, device=images.device) + 0.5
    in_rows = (pixels - size * row[:, None]).abs() < half[:, None]
    in_columns = (pixels - size * column[:, None]).abs() < half[:, None]
    square = in_rows[:, :, None] & in_columns[:, None, :]
    return torch.where(square[:, None], partners, images), 1 - square.float().mean(dim=(1, 2))
