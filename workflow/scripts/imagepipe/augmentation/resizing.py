"""Resizing images on the device: they are stored at most as large as they came."""

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F


def resize_images(images: Tensor, size: Sequence[int]) -> Tensor:
    """Return images [B, H, W, 3] at the height and width `size`, in pixels.

    Images of that size come back as they are. Others become float32 in 0…255, by bilinear
    interpolation with antialiasing (Pillow's BILINEAR, without rounding). Each image's result is
    its own, whatever the batch.
    """
    if images.shape[1:3] == tuple(size):
        return images
    channels_first = images.permute(0, 3, 1, 2).float()
    resized = F.interpolate(channels_first, size=tuple(size), mode="bilinear", antialias=True)
    return resized.permute(0, 2, 3, 1)
