"""Affine maps of images, each image with a map of its own."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from imagepipe.augmentation.randomness import EpochNumbers
from imagepipe.augmentation.resizing import to_bytes
from imagepipe.config.recipe import RandomAffine


def draw_affine(options: RandomAffine, numbers: EpochNumbers, stored_size: Sequence[int]) -> Tensor:
    """Draw the matrices of `warp`, float32 [N, 2, 3], as torchvision's RandomAffine does."""
    height, width = stored_size
    angle, shear = math.radians(options.degrees), math.radians(options.shear)
    right, down = options.translate * width, options.translate * height
    return inverse_affine(
        numbers.uniform("affine angle", -angle, angle),
        numbers.uniform("affine right", -right, right).round(),
        numbers.uniform("affine down", -down, down).round(),
        numbers.uniform("affine scale", options.min_scale, options.max_scale),
        numbers.uniform("affine shear", -shear, shear),
    )


def inverse_affine(
    angle: Tensor, right: Tensor, down: Tensor, scale: Tensor, shear: Tensor
) -> Tensor:
    """Return matrices [..., 2, 3] from a point of the result to one of the image.

    The image is sheared horizontally, rotated clockwise, scaled, and then shifted by pixels.
    Angles are in radians. The points are (x, y, 1) in pixels from the image's center.
    """
    cos, sin, tan = angle.cos(), angle.sin(), shear.tan()
    # Of the linear map [[cos, −cos · tan − sin], [sin, −sin · tan + cos]], whose determinant is 1.
    inverse = (cos - sin * tan, cos * tan + sin, -sin, cos)
    xx, xy, yx, yy = (entry / scale for entry in inverse)
    matrix = torch.stack((xx, xy, -xx * right - xy * down, yx, yy, -yx * right - yy * down), dim=-1)
    return matrix.view(*angle.shape, 2, 3)


def warp(images: Tensor, matrices: Tensor, fill: Tensor) -> Tensor:
    """Return images [B, 3, H, W] in 0…255 whose points come from elsewhere, as uint8.

    matrices: as of `inverse_affine`, [B, 2, 3]. The interpolation is bilinear; fill: the color
    [3, 1, 1] around the image.
    """
    height, width = images.shape[-2:]
    # Pixel centers from the image's center; grid_sample has the edges at −1 and 1.
    x = torch.arange(width, device=images.device) - (width - 1) / 2
    y = torch.arange(height, device=images.device) - (height - 1) / 2
    edges = (2 / width, 2 / height)
    by_x, by_y, shift = (
        torch.stack(
            [row[:, i] * edge for row, edge in zip(matrices.unbind(1), edges, strict=True)], 1
        )
        for i in range(3)
    )
    rows = by_y[:, None, None] * y[:, None, None] + shift[:, None, None]
    grid = torch.addcmul(rows, by_x[:, None, None], x[:, None])
    # Around the image, the samples are 0.
    samples = F.grid_sample(images.float() - fill, grid, "bilinear", "zeros", align_corners=False)
    return to_bytes(samples + fill).contiguous(memory_format=torch.channels_last)
