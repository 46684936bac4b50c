"""Random changes of the training images, on whole batches and on the images' own device.

What is random about an epoch is drawn at once for all images, before its first batch (`draw`);
applying it (`apply`) is then the same arithmetic wherever and however often it is done.
"""

from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from imagepipe.randomness import generator


@dataclass(frozen=True)
class Draws:
    """One epoch's random numbers, each a tensor [N] with a value for each image.

    The crop's side and its top left corner are in pixels of the enlarged image, the shifts in
    pixels of the image.
    """

    crop_side: Tensor
    crop_top: Tensor
    crop_left: Tensor
    shift_down: Tensor
    shift_right: Tensor
    flipped: Tensor

    def of(self, rows: Tensor, device: torch.device) -> "Draws":
        """Return the draws of some of the images, on a device."""
        return Draws(*(getattr(self, field.name)[rows].to(device) for field in fields(self)))


def draw(options: dict[str, Any], images: int, seed: int, epoch: int) -> Draws:
    """Draw an epoch's augmentation of `images` images; `options` is a recipe's `augmentation`.

    The square of `random_resized_crop` is drawn as torchvision.transforms.RandomResizedCrop does
    with ratio (1, 1): area uniform between the two parts, side rounded, corner uniform.
    """

    def uniform(purpose: str) -> Tensor:
        return torch.rand(images, generator=generator(seed, purpose, epoch))

    def integers(purpose: str, low: int, high: Tensor | int) -> Tensor:
        """Uniform on low … high, both included."""
        return low + (uniform(purpose) * (high - low + 1)).long()

    crop = options["random_resized_crop"] or {"resize": 1, "min_area": 1.0, "max_area": 1.0}
    area = crop["min_area"] + uniform("crop area") * (crop["max_area"] - crop["min_area"])
    side = (crop["resize"] * area.sqrt()).round().long().clamp(1, crop["resize"])
    padding = options["random_crop_padding"]
    return Draws(
        crop_side=side,
        crop_top=integers("crop top", 0, crop["resize"] - side),
        crop_left=integers("crop left", 0, crop["resize"] - side),
        shift_down=integers("shift down", -padding, padding),
        shift_right=integers("shift right", -padding, padding),
        flipped=uniform("flip") < (0.5 if options["horizontal_flip"] else 0.0),
    )


def apply(images: Tensor, options: dict[str, Any], draws: Draws) -> Tensor:
    """Return augmented float images [B, C, S, S] (S × S pixels); `draws` has a value for each."""
    if options["random_resized_crop"] is not None:
        resize = options["random_resized_crop"]["resize"]
        images = resized_crop(images, resize, draws.crop_side, draws.crop_top, draws.crop_left)
    if options["random_crop_padding"]:
        images = shift(images, options["random_crop_padding"], draws.shift_down, draws.shift_right)
    if options["horizontal_flip"]:
        images = flip(images, draws.flipped)
    return images


def flip(images: Tensor, flipped: Tensor) -> Tensor:
    """Mirror those images [B, C, H, W], left to right, for which `flipped` [B] is true."""
    return torch.where(flipped[:, None, None, None], images.flip(-1), images)


def shift(images: Tensor, padding: int, down: Tensor, right: Tensor) -> Tensor:
    """Shift images [B, C, H, W] by whole pixels, at most `padding`, and mirror what is missing."""
    size = images.shape[-2:]
    padded = F.pad(images, (padding,) * 4, mode="reflect")
    rows = padding - down[:, None] + torch.arange(size[0], device=images.device)
    columns = padding - right[:, None] + torch.arange(size[1], device=images.device)
    batch = torch.arange(len(images), device=images.device)[:, None, None]
    # Indices beside a slice come first: [B, H, W, C], which is what channels_last keeps anyway.
    return padded[batch, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def resized_crop(images: Tensor, resize: int, side: Tensor, top: Tensor, left: Tensor) -> Tensor:
    """Enlarge square images to `resize` pixels, cut out a square of each, and resize that back.

    images [B, C, S, S]; side, top and left [B], in pixels of the enlarged image. Both resizings
    are bilinear and linear in the pixels, each along one axis after the other, so each image is
    multiplied by one S × S matrix from either side.
    """
    size = images.shape[-1]
    enlarge = _resize_matrix(resize, size, images.device)
    rows = _crop_matrices(size, resize, side, top) @ enlarge
    columns = _crop_matrices(size, resize, side, left) @ enlarge
    batch, channels = images.shape[:2]
    # One multiplication for the rows of all channels: [B, S, S] @ [B, S, C·S].
    cropped = rows @ images.permute(0, 2, 1, 3).reshape(batch, size, channels * size)
    cropped = cropped.reshape(batch, size * channels, size) @ columns.transpose(1, 2)
    return cropped.reshape(batch, size, channels, size).permute(0, 2, 1, 3)


def _resize_matrix(target: int, source: int, device: torch.device) -> Tensor:
    """Return the matrix [target, source] of a bilinear resizing along one axis."""
    whole = torch.tensor([source], device=device)
    return _crop_matrices(target, source, whole, torch.zeros_like(whole))[0]


def _crop_matrices(target: int, source: int, side: Tensor, start: Tensor) -> Tensor:
    """Return matrices [B, target, source] that resize `side` pixels from `start` on to `target`.

    A pixel of the result is the weighted mean of those around its centre, with weights that fall
    off linearly to zero at a distance of one pixel of the coarser grid. It is the triangle filter
    of Pillow, and of torch.nn.functional.interpolate with antialias=True.
    """
    device = side.device
    step = side[:, None, None] / target
    centre = (torch.arange(target, device=device)[None, :, None] + 0.5) * step
    position = torch.arange(source, device=device)[None, None, :] - start[:, None, None] + 0.5
    weight = (1 - (position - centre).abs() / step.clamp(min=1.0)).clamp(min=0.0)
    inside = (position > 0) & (position < side[:, None, None])
    weight = weight * inside
    return weight / weight.sum(dim=2, keepdim=True)
