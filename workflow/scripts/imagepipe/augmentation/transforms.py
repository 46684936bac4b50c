"""Random changes of the training images, on whole batches and on the images' own device.

What is random about an epoch is drawn at once for all images, before its first batch (`draw`);
applying it (`augment`) is then the same arithmetic wherever and however often it is done.
"""

from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from imagepipe.augmentation.color import (
    adjust_brightness,
    adjust_contrast,
    adjust_hue,
    adjust_saturation,
)
from imagepipe.augmentation.normalize import Normalize
from imagepipe.augmentation.randomness import derived_seed, generator
from imagepipe.config.recipe import Augmentation, ColorJitter, RandomResizedCrop


@dataclass(frozen=True)
class AugmentationDraws:
    """One epoch's random numbers, each a tensor [N] with a value for each image.

    The crop's side and its top left corner are in pixels of the enlarged image, the shifts and the
    cutout's corner in pixels of the image. Brightness, contrast and saturation are factors, hue is
    in turns of the colour wheel. `share` is the part of an image that mixing leaves of it; the
    centre of what cutmix replaces is in 0…1 of the image.
    """

    crop_side: Tensor
    crop_top: Tensor
    crop_left: Tensor
    shift_down: Tensor
    shift_right: Tensor
    flipped: Tensor
    brightness: Tensor
    contrast: Tensor
    saturation: Tensor
    hue: Tensor
    cutout_top: Tensor
    cutout_left: Tensor
    lam: Tensor
    cutmix_row: Tensor
    cutmix_column: Tensor

    def to(self, device: torch.device) -> "AugmentationDraws":
        """Return the same draws on a device."""
        return AugmentationDraws(*(tensor.to(device) for tensor in self.tensors()))

    def select(self, rows: Tensor | slice) -> "AugmentationDraws":
        """Return the draws of some of the images; `rows` is on the same device."""
        return AugmentationDraws(*(tensor[rows] for tensor in self.tensors()))

    def tensors(self) -> list[Tensor]:
        """Return the tensors, in the order in which they make another one."""
        return [getattr(self, field.name) for field in fields(self)]


def draw_augmentation(
    options: Augmentation, images: int, image_size: int, seed: int, epoch: int
) -> AugmentationDraws:
    """Draw an epoch's augmentation of `images` images; `options` is a recipe's `augmentation`.

    Everything is uniform but for the share, which is from Beta(α, α) with the α of `mixup` or
    `cutmix`. Alternating flips are those of epoch 0, and in odd epochs those of the other images
    (Jordan, arXiv 2404.00498, section 3.6). The square of `random_resized_crop` is drawn as
    torchvision.transforms.RandomResizedCrop does with ratio (1, 1): the area between the two parts,
    its side rounded, then the corner. The factors of `color_jitter` are those of
    torchvision.transforms.ColorJitter, and the cutout lies whole inside the image, as that of
    torchvision.transforms.RandomErasing does.
    """

    def uniform(purpose: str, low: float = 0.0, high: float = 1.0) -> Tensor:
        return low + (high - low) * torch.rand(images, generator=generator(seed, purpose, epoch))

    def integers(purpose: str, low: int, high: Tensor | int) -> Tensor:
        """Uniform on low … high, both included."""
        return low + (uniform(purpose) * (high - low + 1)).long()

    def factor(name: str) -> Tensor:
        strength = getattr(options.color_jitter, name)
        return uniform(name, max(0.0, 1 - strength), 1 + strength)

    crop = options.random_resized_crop or RandomResizedCrop(resize=1, min_area=1.0, max_area=1.0)
    area = uniform("crop area", crop.min_area, crop.max_area)
    side = (crop.resize * area.sqrt()).round().long().clamp(1, crop.resize)
    flip_epoch = 0 if options.alternating_flip else epoch
    flipped = torch.rand(images, generator=generator(seed, "flip", flip_epoch)) < 0.5
    if options.alternating_flip and epoch % 2:
        flipped = ~flipped
    alpha = options.mixup or options.cutmix
    shares = np.random.default_rng(derived_seed(seed, "share", epoch))
    share = shares.beta(alpha, alpha, images) if alpha else np.ones(images)
    centre = 1.0 if options.cutmix else 0.0
    padding, hue = options.random_crop_padding, options.color_jitter.hue
    free = image_size - options.cutout
    return AugmentationDraws(
        crop_side=side,
        crop_top=integers("crop top", 0, crop.resize - side),
        crop_left=integers("crop left", 0, crop.resize - side),
        shift_down=integers("shift down", -padding, padding),
        shift_right=integers("shift right", -padding, padding),
        flipped=flipped & options.horizontal_flip,
        brightness=factor("brightness"),
        contrast=factor("contrast"),
        saturation=factor("saturation"),
        hue=uniform("hue", -hue, hue),
        cutout_top=integers("cutout top", 0, free),
        cutout_left=integers("cutout left", 0, free),
        lam=torch.from_numpy(share.astype(np.float32)),
        cutmix_row=uniform("cutmix row", 0, centre),
        cutmix_column=uniform("cutmix column", 0, centre),
    )


def augment(
    images: Tensor,
    options: Augmentation,
    draws: AugmentationDraws,
    normalize: Normalize,
    scale: float = 1.0,
) -> Tensor:
    """Return augmented, standardised float images [B, 3, T, T] of uint8 images [B, S, S, 3].

    `draws` has a value for each of the B images. `scale` is the last thing that is done: T is the
    nearest whole number to S · scale. The result is in channels_last layout.
    """
    changed = images.permute(0, 3, 1, 2)
    if options.random_resized_crop is not None:
        resize = options.random_resized_crop.resize
        changed = resized_crop(
            changed.float(), resize, draws.crop_side, draws.crop_top, draws.crop_left
        )
    if options.random_crop_padding or options.horizontal_flip:
        changed = shift_and_flip(changed, draws.shift_down, draws.shift_right, draws.flipped)
    if any(options.color_jitter.model_dump().values()):
        changed = 255 * jitter(changed / 255, options.color_jitter, draws)
    changed = normalize(changed)
    if options.cutout:
        changed = cut_out(changed, options.cutout, draws.cutout_top, draws.cutout_left)
    if scale != 1:
        changed = scaled(changed, scale)
    return changed.contiguous(memory_format=torch.channels_last)


def shift_and_flip(images: Tensor, down: Tensor, right: Tensor, flipped: Tensor) -> Tensor:
    """Shift images [B, C, H, W] by whole pixels, then mirror some of them left to right.

    down, right: int64 [B], each less than the image's size; what is missing is mirrored from the
    image itself. flipped: bool [B].
    """
    height, width = images.shape[-2:]
    device = images.device
    rows = _mirrored(torch.arange(height, device=device) - down[:, None], height)
    columns = _mirrored(torch.arange(width, device=device) - right[:, None], width)
    columns = torch.where(flipped[:, None], columns.flip(1), columns)
    batch = torch.arange(len(images), device=device)[:, None, None]
    # The channels lie together in memory, so that each pixel is copied whole.
    pixels = images.permute(0, 2, 3, 1)[batch, rows[:, :, None], columns[:, None, :]]
    return pixels.permute(0, 3, 1, 2)


def _mirrored(positions: Tensor, size: int) -> Tensor:
    """Return positions inside 0 … size − 1; those beyond an edge are mirrored at its pixel."""
    return (size - 1) - ((size - 1) - positions.abs()).abs()


def jitter(images: Tensor, options: ColorJitter, draws: AugmentationDraws) -> Tensor:
    """Change the colours of float images [B, 3, H, W] in 0…1; `options` is `color_jitter`."""
    for name, adjust in (
        ("brightness", adjust_brightness),
        ("contrast", adjust_contrast),
        ("saturation", adjust_saturation),
        ("hue", adjust_hue),
    ):
        if getattr(options, name):
            images = adjust(images, getattr(draws, name))
    return images


def cut_out(images: Tensor, side: int, top: Tensor, left: Tensor) -> Tensor:
    """Set a square of each image [B, C, H, W] to 0, which is the mean colour of standardised ones.

    top, left: int64 [B], the square's corner. DeVries and Taylor, arXiv 1708.04552; here, as in
    torchvision's RandomErasing, the square is never cut by the image's edge.
    """
    height, width = images.shape[-2:]
    below = torch.arange(height, device=images.device) - top[:, None]
    beside = torch.arange(width, device=images.device) - left[:, None]
    in_rows = (below >= 0) & (below < side)
    in_columns = (beside >= 0) & (beside < side)
    return images.masked_fill((in_rows[:, :, None] & in_columns[:, None, :])[:, None], 0.0)


def scaled(images: Tensor, scale: float) -> Tensor:
    """Resize images [B, C, S, S] by a factor, at least to one pixel."""
    size = max(1, round(images.shape[-1] * scale))
    return F.interpolate(images, size=(size, size), mode="bilinear", antialias=True)


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
    whole = torch.full((1,), source, device=device)
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
