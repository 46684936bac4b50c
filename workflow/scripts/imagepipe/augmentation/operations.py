"""The random operations of TrivialAugment and RandAugment, with torchvision's strengths.

In a batch, each image has an operation of its own. So that a batch takes few steps, similar ones
are one function: all shifts, shears and rotations are affine maps; others blend an image with
another one, or look each value up in a table.
"""

from collections.abc import Callable, Sequence
from enum import IntEnum

import torch
from torch import Tensor

from imagepipe.augmentation.affine import warp
from imagepipe.augmentation.color import gray
from imagepipe.augmentation.randomness import EpochNumbers
from imagepipe.augmentation.resizing import to_bytes
from imagepipe.config.recipe import RandAugment


class Operation(IntEnum):
    """What can be done to an image; similar operations are beside each other."""

    IDENTITY = 0
    SHEAR_X = 1
    SHEAR_Y = 2
    TRANSLATE_X = 3
    TRANSLATE_Y = 4
    ROTATE = 5
    BRIGHTNESS = 6
    COLOR = 7
    CONTRAST = 8
    SHARPNESS = 9
    POSTERIZE = 10
    SOLARIZE = 11
    AUTOCONTRAST = 12
    EQUALIZE = 13


# These are as often negative.
SIGNED = range(Operation.SHEAR_X, Operation.SHARPNESS + 1)
# Strengths are 0 … 30.
LEVELS = 31


def draw_operations(
    rand_augment: RandAugment | None, numbers: EpochNumbers, stored_size: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Draw the operations of each image, int64 [N, n], and their strengths, float32 [N, n].

    Without `rand_augment`, there is one, of random strength, as in torchvision's
    TrivialAugmentWide.
    """
    per_image = (rand_augment.operations if rand_augment else 1,)
    operation = numbers.uniform("operation", 0, len(Operation), per_image).long()
    if rand_augment:
        table = strengths_of_rand_augment(stored_size)
        level = torch.full_like(operation, rand_augment.magnitude)
    else:
        table = strengths_of_trivial_augment()
        level = numbers.uniform("operation level", 0, LEVELS, per_image).long()
    strength = table[operation, level]
    is_signed = (operation >= SIGNED.start) & (operation < SIGNED.stop)
    is_negative = is_signed & (numbers.uniform("operation sign", 0, 1, per_image) < 0.5)
    return operation, torch.where(is_negative, -strength, strength)


def strengths_of_trivial_augment() -> Tensor:
    """Return the strengths of each operation, float32 [14, 31]."""
    return _strengths(shear=0.99, right=32, down=32, degrees=135, blend=0.99, bits=6)


def strengths_of_rand_augment(stored_size: Sequence[int]) -> Tensor:
    """Return the strengths of each operation, float32 [14, 31], on images of a height and width."""
    down, right = (150 / 331 * side for side in stored_size)
    return _strengths(shear=0.3, right=right, down=down, degrees=30, blend=0.9, bits=4)


def _strengths(
    *, shear: float, right: float, down: float, degrees: float, blend: float, bits: int
) -> Tensor:
    largest = [shear, shear, right, down, degrees, *[blend] * 4]
    table = torch.zeros(len(Operation), LEVELS)
    table[SIGNED.start : SIGNED.stop] = torch.stack(
        [torch.linspace(0, one, LEVELS) for one in largest]
    )
    # A shift is by whole pixels.
    table[Operation.TRANSLATE_X : Operation.ROTATE].trunc_()
    table[Operation.POSTERIZE] = 8 - (torch.arange(LEVELS) / ((LEVELS - 1) / bits)).round()
    table[Operation.SOLARIZE] = torch.linspace(255, 0, LEVELS)
    return table


def apply_operations(
    images: Tensor, operation: Tensor, strength: Tensor, fill: Tensor, *, select: bool
) -> Tensor:
    """Return uint8 images [B, 3, H, W] after one operation each.

    operation: int64 [B], an `Operation`. strength: float32 [B], its shear, pixels, degrees,
    factor − 1, bits or threshold. fill: the color [3, 1, 1] of missing pixels, in 0…255. select:
    compute operations only for the images that have them, which is faster on a CPU; on a GPU, it
    would wait. The result is the same.
    """

    def transform(images: Tensor, operation: Tensor, strength: Tensor) -> Tensor:
        return warp(images, _matrices(operation, strength, images.shape[-2:]), fill)

    changes: list[tuple[range, Callable[[Tensor, Tensor, Tensor], Tensor]]] = [
        (range(Operation.SHEAR_X, Operation.ROTATE + 1), transform),
        (range(Operation.BRIGHTNESS, Operation.CONTRAST + 1), _blend_colors),
        (range(Operation.SHARPNESS, Operation.SHARPNESS + 1), _sharpen),
        (range(Operation.POSTERIZE, Operation.EQUALIZE + 1), _look_up),
    ]
    for kinds, change in changes:
        chosen = (operation >= kinds.start) & (operation < kinds.stop)
        if not select:
            changed = change(images, operation, strength)
            images = torch.where(chosen[:, None, None, None], changed, images)
        elif chosen.any():
            changed = change(images[chosen], operation[chosen], strength[chosen])
            images = images.index_copy(0, chosen.nonzero()[:, 0], changed)
    return images


def _matrices(operation: Tensor, strength: Tensor, size: Sequence[int]) -> Tensor:
    """Return the matrices of `warp` for shears, shifts and rotations, [B, 2, 3].

    Shears leave the image's upper left corner in its place, and rotations its center.
    """

    def only(kind: int) -> Tensor:
        return torch.where(operation == kind, strength, 0.0)

    height, width = size
    shear_x, shear_y, angle = (
        only(Operation.SHEAR_X),
        only(Operation.SHEAR_Y),
        only(Operation.ROTATE).deg2rad(),
    )
    x = (angle.cos(), shear_x - angle.sin(), shear_x * (height / 2) - only(Operation.TRANSLATE_X))
    y = (shear_y + angle.sin(), angle.cos(), shear_y * (width / 2) - only(Operation.TRANSLATE_Y))
    return torch.stack((*x, *y), dim=1).view(-1, 2, 3)


def _blend_colors(images: Tensor, operation: Tensor, strength: Tensor) -> Tensor:
    """Change brightness, saturation ("color") or contrast."""
    operation = operation[:, None, None, None]
    pixels = images.float()
    grays = gray(pixels)
    mean = grays.mean(dim=(2, 3), keepdim=True)
    other = torch.where(
        operation == Operation.CONTRAST, mean, torch.where(operation == Operation.COLOR, grays, 0.0)
    )
    return _blend(pixels, other, strength)


def _sharpen(images: Tensor, _: Tensor, strength: Tensor) -> Tensor:
    """Move images away from their blurred forms, or towards them; borders stay."""
    if min(images.shape[-2:]) < 3:
        return images
    pixels = images.float()
    rows = pixels[:, :, :-2] + pixels[:, :, 1:-1] + pixels[:, :, 2:]
    squares = rows[:, :, :, :-2] + rows[:, :, :, 1:-1] + rows[:, :, :, 2:]
    blurred = pixels.clone()
    inner = blurred[:, :, 1:-1, 1:-1]
    inner.copy_((squares + 4 * inner) / 13)
    return _blend(pixels, blurred, strength)


def _blend(pixels: Tensor, other: Tensor, strength: Tensor) -> Tensor:
    return to_bytes(torch.lerp(other, pixels, 1 + strength[:, None, None, None]))


def _look_up(images: Tensor, operation: Tensor, strength: Tensor) -> Tensor:
    """Posterize, solarize, stretch or equalize the values of each channel."""
    values = images.flatten(2)
    operation, strength = operation[:, None, None], strength[:, None, None]
    levels = torch.arange(256, device=images.device)
    # 256 / 2^bits values become one.
    width = (8 - strength).clamp(0, 8).exp2().round().long()
    posterized = levels // width * width
    solarized = torch.where(levels >= strength, 255 - levels, levels)
    table = torch.where(operation == Operation.POSTERIZE, posterized, solarized)
    table = torch.where(operation == Operation.AUTOCONTRAST, _stretched(values), table)
    table = torch.where(operation == Operation.EQUALIZE, _equalized(values), table)
    changed = table.to(torch.uint8).gather(2, values.long()).view(images.shape)
    return changed.contiguous(memory_format=torch.channels_last)


def _stretched(values: Tensor) -> Tensor:
    """Return tables [B, 3, 256] that move the least value to 0 and the largest to 255."""
    least, largest = (one[..., None] for one in (values.amin(dim=2), values.amax(dim=2)))
    levels = torch.arange(256, device=values.device).expand(*values.shape[:2], -1)
    scaled = (levels - least) * 255 // (largest - least).clamp(min=1)
    return torch.where(largest > least, scaled.clamp(0, 255), levels)


def _equalized(values: Tensor) -> Tensor:
    """Return tables [B, 3, 256] that make all values about equally frequent, as Pillow does."""
    counts = _counts(values.long())
    levels = torch.arange(256, device=values.device).expand_as(counts)
    # All but the pixels of the largest value, divided by the number of steps between values.
    largest = values.amax(dim=2, keepdim=True).long()
    step = (values.shape[2] - counts.gather(2, largest)) // 255
    before = counts.cumsum(dim=2) - counts
    table = (before + step // 2) // step.clamp(min=1)
    return torch.where(step > 0, table.clamp(max=255), levels)


def _counts(values: Tensor) -> Tensor:
    """Return how often each of 256 values comes, int64 [B, 3, 256], of int64 values [B, 3, N]."""
    counts = values.new_zeros(*values.shape[:2], 256)
    # Sums of integers do not depend on their order; the code that keeps it is many times as slow.
    deterministic = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(False)
    try:
        return counts.scatter_add_(2, values, torch.ones_like(values[:1, :1]).expand_as(values))
    finally:
        torch.use_deterministic_algorithms(deterministic)
