"""Random crops that are resized, each in a single step."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from imagepipe.augmentation.randomness import EpochNumbers
from imagepipe.augmentation.resizing import resize_channels_first, to_bytes
from imagepipe.config.recipe import RandomResizedCrop
from imagepipe.config.weights import Interpolation

# Of each image, as in torchvision.
ATTEMPTS = 10


def draw_crops(
    options: RandomResizedCrop, numbers: EpochNumbers, stored_size: Sequence[int]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Draw height, width, top and left of a crop of each image, int64 [N].

    They are in pixels of the enlarged image. Like torchvision's RandomResizedCrop: the area is
    uniform and the ratio's logarithm, too; the first of ten pairs that fits counts, or the whole
    image if none does. The ratio is relative to that of the image.
    """
    height, width = enlarged_size(options.resize, stored_size)
    attempts = () if options.max_ratio == 1 else (ATTEMPTS,)
    area = numbers.uniform("crop area", options.min_area, options.max_area, attempts)
    log_ratio = math.log(options.max_ratio)
    ratio = numbers.uniform("crop ratio", -log_ratio, log_ratio, attempts).exp()
    crop_height = (height * (area / ratio).sqrt()).round().long()
    crop_width = (width * (area * ratio).sqrt()).round().long()
    if attempts:
        fits = (crop_height <= height) & (crop_width <= width)
        first = fits.int().argmax(dim=1, keepdim=True)
        whole = ~fits.any(dim=1)
        crop_height = crop_height.gather(1, first)[:, 0].masked_fill(whole, height)
        crop_width = crop_width.gather(1, first)[:, 0].masked_fill(whole, width)
    crop_height, crop_width = crop_height.clamp(1, height), crop_width.clamp(1, width)
    top = numbers.integers("crop top", 0, height - crop_height)
    left = numbers.integers("crop left", 0, width - crop_width)
    return crop_height, crop_width, top, left


def enlarged_size(resize: int | None, size: Sequence[int]) -> tuple[int, int]:
    """Return the height and width of an image whose smaller side is resized to `resize` pixels.

    The other side is rounded down, as in torchvision's Resize. None changes nothing.
    """
    height, width = size
    smaller = min(height, width)
    resize = resize or smaller
    return int(resize * height / smaller), int(resize * width / smaller)


def crop_and_resize(
    images: Tensor,
    resize: int | None,
    crop: tuple[Tensor, Tensor, Tensor, Tensor],
    size: Sequence[int],
    interpolation: Interpolation,
) -> Tensor:
    """Return a crop of each image [B, 3, H, W], at the height and width `size`.

    The images are uint8, or float in 0…255. resize: the smaller side of the enlarged image; with
    it, the result is float, and without it uint8. crop: as `draw_crops` returns it.
    """
    if resize is not None:
        enlarged = enlarged_size(resize, images.shape[-2:])
        return resized_crop(images.float(), enlarged, *crop, size, interpolation)
    images = to_bytes(images)
    if images.device.type != "cpu":
        whole = images.shape[-2:]
        return to_bytes(resized_crop(images.float(), whole, *crop, size, interpolation))
    # A CPU is four times as fast with one image after another.
    pixels = images.new_empty(len(images), *size, 3).permute(0, 3, 1, 2)
    boxes = zip(*(numbers.tolist() for numbers in crop), strict=True)
    for i, (height, width, top, left) in enumerate(boxes):
        box = images[i : i + 1, :, top : top + height, left : left + width]
        pixels[i : i + 1] = resize_channels_first(box, size, interpolation)
    return pixels


def resized_crop(
    images: Tensor,
    enlarged: Sequence[int],
    crop_height: Tensor,
    crop_width: Tensor,
    top: Tensor,
    left: Tensor,
    size: Sequence[int],
    interpolation: Interpolation = "bilinear",
) -> Tensor:
    """Enlarge images, cut a rectangle out of each, and resize that to the height and width `size`.

    images: float [B, C, H, W]. enlarged: height and width. crop_height, crop_width, top, left:
    int64 [B], in pixels of the enlarged image. Both resizings take one axis after the other. Thus
    each is a product with a matrix for the rows and one for the columns, and the matrices of both
    can be multiplied first.
    """
    batch, channels, height, width = images.shape
    rows = _axis_matrices(size[0], height, enlarged[0], crop_height, top, interpolation)
    columns = _axis_matrices(size[1], width, enlarged[1], crop_width, left, interpolation)
    # One product for the rows of all channels: [B, h, H] @ [B, H, C·W].
    cropped = rows @ images.permute(0, 2, 1, 3).reshape(batch, height, channels * width)
    cropped = cropped.reshape(batch, size[0] * channels, width) @ columns.transpose(1, 2)
    return cropped.reshape(batch, size[0], channels, size[1]).permute(0, 2, 1, 3)


def _axis_matrices(
    target: int,
    size: int,
    enlarged: int,
    side: Tensor,
    start: Tensor,
    interpolation: Interpolation,
) -> Tensor:
    """Return matrices [B, target, size] that enlarge an axis, cut `side` out, and resize it."""
    crop = _crop_matrices(target, enlarged, side, start, interpolation)
    if enlarged == size:
        return crop
    whole = side.new_full((1,), size), side.new_zeros(1)
    return crop @ _crop_matrices(enlarged, size, *whole, interpolation)


def _crop_matrices(
    target: int, source: int, side: Tensor, start: Tensor, interpolation: Interpolation
) -> Tensor:
    """Return matrices [B, target, source] that resize `side` pixels from `start` on to `target`.

    A pixel of the result is a weighted mean of the pixels around its center. The weights depend on
    the distance in pixels of the coarser grid: the filters of Pillow and of
    torch.nn.functional.interpolate with antialias=True.
    """
    device = side.device
    step = side[:, None, None] / target
    center = (torch.arange(target, device=device)[None, :, None] + 0.5) * step
    position = torch.arange(source, device=device)[None, None, :] - start[:, None, None] + 0.5
    distance = (position - center).abs() / step.clamp(min=1.0)
    weight = (1 - distance).clamp(min=0.0) if interpolation == "bilinear" else _cubic(distance)
    weight = weight * ((position > 0) & (position < side[:, None, None]))
    return weight / weight.sum(dim=2, keepdim=True)


def _cubic(distance: Tensor) -> Tensor:
    """Return the weights of bicubic interpolation with a = −0.5 (Keys, IEEE TASSP 29, 1981)."""
    near = (1.5 * distance - 2.5) * distance * distance + 1
    far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    return torch.where(distance < 1, near, torch.where(distance < 2, far, 0.0))
