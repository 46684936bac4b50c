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

    labels, partner_labels: int64 [B], or uint8 [B, classes] of 0 and 1 if images may have several.
    lam: float32 [B] in 0…1. The last two are None without mixing.
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
    """Mix float images [B, 3, H, W] and their labels by `mixup` or `cutmix`, if one is set."""
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
    """Replace a rectangle of each image by its partner's (Yun et al., arXiv 1905.04899).

    It has the image's shape, and 1 − lam of its area; its center is at row and column in 0…1, and
    the image's edge clips it. Returns the images, and lam by the clipped area.
    """

    def in_rectangle(size: int, center: Tensor) -> Tensor:
        """Say for each image and each pixel of an axis, [B, size], whether it is replaced."""
        half = (1 - lam).sqrt() * size / 2
        pixels = torch.arange(size, device=images.device) + 0.5
        return (pixels - size * center[:, None]).abs() < half[:, None]

    in_rows, in_columns = (
        in_rectangle(images.shape[-2], row),
        in_rectangle(images.shape[-1], column),
    )
    replaced = in_rows[:, :, None] & in_columns[:, None, :]
    return torch.where(replaced[:, None], partners, images), 1 - replaced.float().mean(dim=(1, 2))
