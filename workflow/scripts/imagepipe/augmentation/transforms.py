"""Random changes of the training images, in batches on the images' device.

`draw_augmentation` draws an epoch's random numbers for all images before its first batch. `augment`
applies them: the same arithmetic wherever and however often it is done.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from imagepipe.augmentation import color
from imagepipe.augmentation.affine import draw_affine, warp
from imagepipe.augmentation.crops import ATTEMPTS, crop_and_resize, draw_crops
from imagepipe.augmentation.normalize import Normalize
from imagepipe.augmentation.operations import apply_operations, draw_operations
from imagepipe.augmentation.randomness import EpochNumbers, derived_seed, generator
from imagepipe.augmentation.resizing import resize_channels_first, to_bytes
from imagepipe.config.recipe import Augmentation, ColorJitter, RandomErasing, RandomResizedCrop
from imagepipe.config.recipe_checks import scaled_size
from imagepipe.config.weights import Interpolation


@dataclass(frozen=True)
class AugmentationDraws:
    """One epoch's random numbers, each a tensor [N] with a value for each image.

    crop_height, crop_width, crop_top, crop_left: int64, in pixels of the enlarged image.
    shift_down, shift_right, cutout_top, cutout_left: int64, in pixels. flipped, flipped_vertically:
    bool. The others are float32. affine: [N, 2, 3], the matrices of `warp`. operation (int64) and
    strength: [N, n], those of `apply_operations`, one after the other. brightness, contrast,
    saturation: factors. hue: in turns of the color wheel. erased: int64 [N, 4], top, left, height
    and width. lam: the weight of an image when it is mixed. cutmix_row, cutmix_column: the center
    of CutMix's rectangle, in 0…1 of the image. Without an option, the last dimension of a matrix is
    0.
    """

    crop_height: Tensor
    crop_width: Tensor
    crop_top: Tensor
    crop_left: Tensor
    shift_down: Tensor
    shift_right: Tensor
    flipped: Tensor
    flipped_vertically: Tensor
    affine: Tensor
    operation: Tensor
    strength: Tensor
    brightness: Tensor
    contrast: Tensor
    saturation: Tensor
    hue: Tensor
    cutout_top: Tensor
    cutout_left: Tensor
    erased: Tensor
    lam: Tensor
    cutmix_row: Tensor
    cutmix_column: Tensor

    def to(self, device: torch.device) -> "AugmentationDraws":
        """Return these draws on a device."""
        return AugmentationDraws(*(tensor.to(device) for tensor in self.tensors()))

    def select(self, rows: Tensor | slice) -> "AugmentationDraws":
        """Return the draws of some of the images; `rows` is on the same device."""
        return AugmentationDraws(*(tensor[rows] for tensor in self.tensors()))

    def tensors(self) -> list[Tensor]:
        """Return the tensors in the order of the constructor's arguments."""
        return [getattr(self, field.name) for field in fields(self)]


def draw_augmentation(
    options: Augmentation, num_images: int, stored_size: Sequence[int], seed: int, epoch: int
) -> AugmentationDraws:
    """Draw the random numbers of an epoch, for images stored at height and width `stored_size`.

    All are uniform but lam, which is from Beta(α, α) with the α of `mixup` or `cutmix`, and what
    other functions draw. As in torchvision, ColorJitter draws factors, and RandomErasing keeps the
    whole square inside the image. Odd epochs with `alternating_flip` flip the images that epoch 0
    did not (Jordan, arXiv 2404.00498, section 3.6).
    """
    numbers = EpochNumbers(num_images, seed, epoch)
    uniform, integers = numbers.uniform, numbers.integers

    def factor(purpose: str, strength: float) -> Tensor:
        return uniform(purpose, max(0.0, 1 - strength), 1 + strength)

    crop = options.random_resized_crop or RandomResizedCrop(resize=None, min_area=1.0)
    crop_height, crop_width, crop_top, crop_left = draw_crops(crop, numbers, stored_size)
    flip_epoch = 0 if options.alternating_flip else epoch
    flipped = torch.rand(num_images, generator=generator(seed, "flip", flip_epoch)) < 0.5
    if options.alternating_flip and epoch % 2:
        flipped = ~flipped
    affine = operation = strength = erased = torch.empty(num_images, 0)
    if options.affine is not None:
        affine = draw_affine(options.affine, numbers, stored_size)
    if options.trivial_augment or options.rand_augment is not None:
        operation, strength = draw_operations(options.rand_augment, numbers, stored_size)
    if options.random_erasing is not None:
        erased = draw_erased(options.random_erasing, numbers, stored_size)
    alpha = options.mixup or options.cutmix
    rng = np.random.default_rng(derived_seed(seed, "share", epoch))
    lam = rng.beta(alpha, alpha, num_images) if alpha else np.ones(num_images)
    max_center = 1.0 if options.cutmix else 0.0
    jitter, padding = options.color_jitter, options.random_crop_padding
    return AugmentationDraws(
        crop_height=crop_height,
        crop_width=crop_width,
        crop_top=crop_top,
        crop_left=crop_left,
        shift_down=integers("shift down", -padding, padding),
        shift_right=integers("shift right", -padding, padding),
        flipped=flipped & options.horizontal_flip,
        flipped_vertically=(uniform("vertical flip") < 0.5) & options.vertical_flip,
        affine=affine,
        operation=operation,
        strength=strength,
        brightness=factor("brightness", jitter.brightness),
        contrast=factor("contrast", jitter.contrast),
        saturation=factor("saturation", jitter.saturation),
        hue=uniform("hue", -jitter.hue, jitter.hue),
        cutout_top=integers("cutout top", 0, stored_size[0] - options.cutout),
        cutout_left=integers("cutout left", 0, stored_size[1] - options.cutout),
        erased=erased,
        lam=torch.from_numpy(lam.astype(np.float32)),
        cutmix_row=uniform("cutmix row", 0, max_center),
        cutmix_column=uniform("cutmix column", 0, max_center),
    )


def augment(
    images: Tensor,
    options: Augmentation,
    draws: AugmentationDraws,
    normalize: Normalize,
    scale: float = 1.0,
    image_size: Sequence[int] | None = None,
    interpolation: Interpolation = "bilinear",
) -> Tensor:
    """Return augmented, normalized float32 images [B, 3, h, w] of uint8 images [B, H, W, 3].

    draws: those of the B images. image_size: the network's height and width; None: those stored.
    scale: h and w are the nearest whole numbers to image_size · scale. The result is in
    channels_last layout.

    All changes are at the stored size, where they cost least. Then the images are enlarged, as
    bytes, and normalized. Cutout and erasing come after that, as 0 is the mean color. A crop and
    the enlargement are one resizing. It is the first step where images are stored at image_size, as
    is common, and else the last one.
    """
    stored_size = images.shape[1:3]
    size = scaled_size(image_size or stored_size, scale)
    enlarges = image_size is not None and tuple(image_size) != tuple(stored_size)
    changed = images.permute(0, 3, 1, 2)
    crop = options.random_resized_crop
    boxes = (draws.crop_height, draws.crop_width, draws.crop_top, draws.crop_left)
    if crop is not None and not enlarges:
        changed = crop_and_resize(changed, crop.resize, boxes, stored_size, interpolation)
    if options.random_crop_padding:
        changed = shift_and_flip(changed, draws.shift_down, draws.shift_right, draws.flipped)
    elif options.horizontal_flip:
        changed = flip(changed, draws.flipped, dim=3)
    if options.vertical_flip:
        changed = flip(changed, draws.flipped_vertically, dim=2)
    mean_color = normalize.offset / normalize.scale
    if options.affine is not None:
        changed = warp(changed, draws.affine, mean_color)
    if options.trivial_augment or options.rand_augment is not None:
        changed, select = to_bytes(changed), changed.device.type == "cpu"
        for operation, strength in zip(draws.operation.T, draws.strength.T, strict=True):
            changed = apply_operations(changed, operation, strength, mean_color, select=select)
    if options.color_jitter != ColorJitter():
        changed = 255 * jitter_colors(changed / 255, options.color_jitter, draws)
    if crop is not None and enlarges:
        changed = crop_and_resize(changed, crop.resize, boxes, size, interpolation)
    elif enlarges:
        changed = resize_channels_first(to_bytes(changed), size, interpolation)
    changed = normalize(changed)
    if options.cutout:
        sides = torch.full_like(draws.cutout_top, options.cutout)
        square = (draws.cutout_top, draws.cutout_left, sides, sides)
        changed = erase(changed, stored_size, *square)
    if options.random_erasing is not None:
        changed = erase(changed, stored_size, *draws.erased.T)
    if not enlarges and scale != 1:
        changed = F.interpolate(changed, size=size, mode=interpolation, antialias=True)
    return changed.contiguous(memory_format=torch.channels_last)


def flip(images: Tensor, chosen: Tensor, dim: int) -> Tensor:
    """Mirror some images [B, C, H, W] left to right (dim 3) or top to bottom; chosen: bool [B]."""
    return torch.where(chosen[:, None, None, None], images.flip(dim), images)


def shift_and_flip(images: Tensor, down: Tensor, right: Tensor, flipped: Tensor) -> Tensor:
    """Shift images [B, C, H, W] by whole pixels, then mirror some of them left to right.

    down, right: int64 [B], each less than the image's size; missing pixels are mirrored at the
    edge. flipped: bool [B].
    """
    height, width = images.shape[-2:]
    device = images.device
    rows = _reflect(torch.arange(height, device=device) - down[:, None], height)
    columns = _reflect(torch.arange(width, device=device) - right[:, None], width)
    columns = torch.where(flipped[:, None], columns.flip(1), columns)
    batch = torch.arange(len(images), device=device)[:, None, None]
    # With the channels last, each pixel is copied as a whole.
    pixels = images.permute(0, 2, 3, 1)[batch, rows[:, :, None], columns[:, None, :]]
    return pixels.permute(0, 3, 1, 2)


def _reflect(positions: Tensor, size: int) -> Tensor:
    """Mirror positions outside 0 … size − 1 at the center of the edge's pixel."""
    return (size - 1) - ((size - 1) - positions.abs()).abs()


def jitter_colors(images: Tensor, options: ColorJitter, draws: AugmentationDraws) -> Tensor:
    """Change the colors of float images [B, 3, H, W] in 0…1."""
    if options.brightness:
        images = color.adjust_brightness(images, draws.brightness)
    if options.contrast:
        images = color.adjust_contrast(images, draws.contrast)
    if options.saturation:
        images = color.adjust_saturation(images, draws.saturation)
    if options.hue:
        images = color.adjust_hue(images, draws.hue)
    return images


def erase(
    images: Tensor,
    stored_size: Sequence[int],
    top: Tensor,
    left: Tensor,
    height: Tensor,
    width: Tensor,
) -> Tensor:
    """Set a rectangle of each normalized image [B, C, h, w] to 0, the mean color.

    top, left, height, width: int64 [B], in pixels of the stored images, of which `stored_size` is
    height and width. After DeVries and Taylor (arXiv 1708.04552).
    """

    def inside(size: int, stored: int, start: Tensor, side: Tensor) -> Tensor:
        """Say for each image and each pixel of an axis, [B, size], whether it is erased."""
        pixels = (torch.arange(size, device=images.device) + 0.5) * (stored / size)
        return (pixels > start[:, None]) & (pixels < (start + side)[:, None])

    in_rows = inside(images.shape[-2], stored_size[0], top, height)
    in_columns = inside(images.shape[-1], stored_size[1], left, width)
    return images.masked_fill((in_rows[:, :, None] & in_columns[:, None, :])[:, None], 0.0)


def draw_erased(
    options: RandomErasing, numbers: EpochNumbers, stored_size: Sequence[int]
) -> Tensor:
    """Draw top, left, height and width of a rectangle in each image, int64 [N, 4].

    Like torchvision's RandomErasing: the area is uniform, and the logarithm of the ratio, too; the
    first of ten pairs that is smaller than the image counts. Where none is, or an image is not
    chosen, all four are 0.
    """
    area = stored_size[0] * stored_size[1]
    log_ratio = math.log(options.max_ratio)
    per_image = (ATTEMPTS,)
    areas = area * numbers.uniform("erased area", options.min_area, options.max_area, per_image)
    ratios = numbers.uniform("erased ratio", -log_ratio, log_ratio, per_image).exp()
    heights, widths = ((areas * ratios).sqrt().round(), (areas / ratios).sqrt().round())
    fits = (heights < stored_size[0]) & (widths < stored_size[1])
    first = fits.int().argmax(dim=1, keepdim=True)
    height, width = (sides.gather(1, first)[:, 0].long() for sides in (heights, widths))
    top = numbers.integers("erased top", 0, stored_size[0] - height)
    left = numbers.integers("erased left", 0, stored_size[1] - width)
    chosen = fits.any(dim=1) & (numbers.uniform("erased") < options.probability)
    return torch.stack((top, left, height, width), dim=1) * chosen[:, None]
