"""Random changes of the training images, in batches on the images' device.

`draw_augmentation` draws an epoch's random numbers for all images before its first batch. `augment`
applies them: the same arithmetic wherever and however often it is done.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from imagepipe.augmentation import color
from imagepipe.augmentation.normalize import Normalize
from imagepipe.augmentation.randomness import derived_seed, generator
from imagepipe.config.recipe import Augmentation, ColorJitter, RandomResizedCrop
from imagepipe.config.recipe_checks import scaled_size


@dataclass(frozen=True)
class AugmentationDraws:
    """One epoch's random numbers, each a tensor [N] with a value for each image.

    crop_height, crop_width, crop_top, crop_left: int64, in pixels of the enlarged image.
    shift_down, shift_right, cutout_top, cutout_left: int64, in pixels. flipped: bool. The others
    are float32. brightness, contrast, saturation: factors. hue: in turns of the color wheel. lam:
    the weight of an image when it is mixed. cutmix_row, cutmix_column: the center of CutMix's
    rectangle, in 0…1 of the image.
    """

    crop_height: Tensor
    crop_width: Tensor
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
        """Return these draws on a device."""
        return AugmentationDraws(*(tensor.to(device) for tensor in self.tensors()))

    def select(self, rows: Tensor | slice) -> "AugmentationDraws":
        """Return the draws of some of the images; `rows` is on the same device."""
        return AugmentationDraws(*(tensor[rows] for tensor in self.tensors()))

    def tensors(self) -> list[Tensor]:
        """Return the tensors in the order of the constructor's arguments."""
        return [getattr(self, field.name) for field in fields(self)]


def draw_augmentation(
    options: Augmentation, num_images: int, image_size: Sequence[int], seed: int, epoch: int
) -> AugmentationDraws:
    """Draw the random numbers of an epoch, for images of height and width `image_size`.

    All are uniform but lam, which is from Beta(α, α) with the α of `mixup` or `cutmix`. As in
    torchvision, RandomResizedCrop with ratio (1, 1) draws the area, rounds the side and draws the
    corner; ColorJitter draws factors; and RandomErasing keeps the whole square inside the image.
    Odd epochs with `alternating_flip` flip the images that epoch 0 did not (Jordan, arXiv
    2404.00498, section 3.6).
    """

    def uniform(purpose: str, low: float = 0.0, high: float = 1.0) -> Tensor:
        numbers = torch.rand(num_images, generator=generator(seed, purpose, epoch))
        return low + (high - low) * numbers

    def integers(purpose: str, low: int, high: Tensor | int) -> Tensor:
        """Uniform on low … high, both included."""
        return low + (uniform(purpose) * (high - low + 1)).long()

    def factor(purpose: str, strength: float) -> Tensor:
        return uniform(purpose, max(0.0, 1 - strength), 1 + strength)

    crop = options.random_resized_crop or RandomResizedCrop(resize=1, min_area=1.0)
    side = uniform("crop area", crop.min_area, crop.max_area).sqrt()
    enlarged_height, enlarged_width = enlarged_size(crop.resize or min(image_size), image_size)
    crop_height = (enlarged_height * side).round().long().clamp(1, enlarged_height)
    crop_width = (enlarged_width * side).round().long().clamp(1, enlarged_width)
    flip_epoch = 0 if options.alternating_flip else epoch
    flipped = torch.rand(num_images, generator=generator(seed, "flip", flip_epoch)) < 0.5
    if options.alternating_flip and epoch % 2:
        flipped = ~flipped
    alpha = options.mixup or options.cutmix
    rng = np.random.default_rng(derived_seed(seed, "share", epoch))
    lam = rng.beta(alpha, alpha, num_images) if alpha else np.ones(num_images)
    max_center = 1.0 if options.cutmix else 0.0
    jitter, padding = options.color_jitter, options.random_crop_padding
    return AugmentationDraws(
        crop_height=crop_height,
        crop_width=crop_width,
        crop_top=integers("crop top", 0, enlarged_height - crop_height),
        crop_left=integers("crop left", 0, enlarged_width - crop_width),
        shift_down=integers("shift down", -padding, padding),
        shift_right=integers("shift right", -padding, padding),
        flipped=flipped & options.horizontal_flip,
        brightness=factor("brightness", jitter.brightness),
        contrast=factor("contrast", jitter.contrast),
        saturation=factor("saturation", jitter.saturation),
        hue=uniform("hue", -jitter.hue, jitter.hue),
        cutout_top=integers("cutout top", 0, image_size[0] - options.cutout),
        cutout_left=integers("cutout left", 0, image_size[1] - options.cutout),
        lam=torch.from_numpy(lam.astype(np.float32)),
        cutmix_row=uniform("cutmix row", 0, max_center),
        cutmix_column=uniform("cutmix column", 0, max_center),
    )


def enlarged_size(resize: int, image_size: Sequence[int]) -> tuple[int, int]:
    """Return the height and width of an image whose smaller side is resized to `resize` pixels.

    The other side is rounded down, as in torchvision's Resize.
    """
    height, width = image_size
    smaller = min(height, width)
    return int(resize * height / smaller), int(resize * width / smaller)


def augment(
    images: Tensor,
    options: Augmentation,
    draws: AugmentationDraws,
    normalize: Normalize,
    scale: float = 1.0,
) -> Tensor:
    """Return augmented, normalized float32 images [B, 3, h, w] of images [B, H, W, 3].

    The images are uint8, or float32 in 0…255. draws: those of the B images. scale: the last step
    resizes to h and w, the nearest whole numbers to H · scale and W · scale. The result is in
    channels_last layout.
    """
    changed = images.permute(0, 3, 1, 2)
    if options.random_resized_crop is not None:
        enlarged = enlarged_size(
            options.random_resized_crop.resize or min(changed.shape[-2:]), changed.shape[-2:]
        )
        crop = (draws.crop_height, draws.crop_width, draws.crop_top, draws.crop_left)
        changed = resized_crop(changed.float(), enlarged, *crop)
    if options.random_crop_padding or options.horizontal_flip:
        changed = shift_and_flip(changed, draws.shift_down, draws.shift_right, draws.flipped)
    if options.color_jitter != ColorJitter():
        changed = 255 * jitter_colors(changed / 255, options.color_jitter, draws)
    changed = normalize(changed)
    if options.cutout:
        changed = cut_out(changed, options.cutout, draws.cutout_top, draws.cutout_left)
    if scale != 1:
        size = scaled_size(changed.shape[-2:], scale)
        changed = F.interpolate(changed, size=size, mode="bilinear", antialias=True)
    return changed.contiguous(memory_format=torch.channels_last)


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


def cut_out(images: Tensor, side: int, top: Tensor, left: Tensor) -> Tensor:
    """Set a square of each normalized image [B, C, H, W] to 0, the mean color.

    top, left: int64 [B], the square's corner. After DeVries and Taylor (arXiv 1708.04552).
    """
    height, width = images.shape[-2:]
    below = torch.arange(height, device=images.device) - top[:, None]
    beside = torch.arange(width, device=images.device) - left[:, None]
    in_rows = (below >= 0) & (below < side)
    in_columns = (beside >= 0) & (beside < side)
    return images.masked_fill((in_rows[:, :, None] & in_columns[:, None, :])[:, None], 0.0)


def resized_crop(
    images: Tensor,
    enlarged: Sequence[int],
    crop_height: Tensor,
    crop_width: Tensor,
    top: Tensor,
    left: Tensor,
) -> Tensor:
    """Enlarge images, cut a rectangle out of each, and resize that back.

    images: float [B, C, H, W]. enlarged: height and width. crop_height, crop_width, top, left:
    int64 [B], in pixels of the enlarged image. Both resizings are bilinear, one axis after the
    other. Thus each is a product with a matrix for the rows and one for the columns, and the
    matrices of both can be multiplied first, to H × H and W × W.
    """
    batch, channels, height, width = images.shape
    rows = _axis_matrices(height, enlarged[0], crop_height, top)
    columns = _axis_matrices(width, enlarged[1], crop_width, left)
    # One product for the rows of all channels: [B, H, H] @ [B, H, C·W].
    cropped = rows @ images.permute(0, 2, 1, 3).reshape(batch, height, channels * width)
    cropped = cropped.reshape(batch, height * channels, width) @ columns.transpose(1, 2)
    return cropped.reshape(batch, height, channels, width).permute(0, 2, 1, 3)


def _axis_matrices(size: int, enlarged: int, side: Tensor, start: Tensor) -> Tensor:
    """Return matrices [B, size, size] that enlarge an axis, cut `side` out, and resize it back."""
    enlarge = _crop_matrices(enlarged, size, side.new_full((1,), size), side.new_zeros(1))
    return _crop_matrices(size, enlarged, side, start) @ enlarge


def _crop_matrices(target: int, source: int, side: Tensor, start: Tensor) -> Tensor:
    """Return matrices [B, target, source] that resize `side` pixels from `start` on to `target`.

    A pixel of the result is a weighted mean of the pixels around its center. The weights fall off
    linearly, to 0 at the distance of one pixel of the coarser grid: the triangle filter of Pillow
    and of torch.nn.functional.interpolate with antialias=True.
    """
    device = side.device
    step = side[:, None, None] / target
    center = (torch.arange(target, device=device)[None, :, None] + 0.5) * step
    position = torch.arange(source, device=device)[None, None, :] - start[:, None, None] + 0.5
    weight = (1 - (position - center).abs() / step.clamp(min=1.0)).clamp(min=0.0)
    weight = weight * ((position > 0) & (position < side[:, None, None]))
    return weight / weight.sum(dim=2, keepdim=True)
