"""Changes of brightness, contrast, saturation and hue, on whole batches.

Each is what torchvision's function of the same name does with one image. Images are float
[B, 3, H, W] in 0…1, and stay in that range; factors and shifts are float [B], one for each image.
"""

import torch
from torch import Tensor

# The shares of red, green and blue in what the eye sees as bright (ITU-R BT.601).
LUMA = (0.2989, 0.587, 0.114)


def adjust_brightness(images: Tensor, factors: Tensor) -> Tensor:
    """Multiply each image by its factor."""
    return (images * _for_each(factors)).clamp(0, 1)


def adjust_contrast(images: Tensor, factors: Tensor) -> Tensor:
    """Move each image away from (factor > 1) or towards its own mean grey."""
    mean = _grey(images).mean(dim=(1, 2, 3), keepdim=True)
    return _blend(images, mean, factors)


def adjust_saturation(images: Tensor, factors: Tensor) -> Tensor:
    """Move each pixel away from (factor > 1) or towards its own grey."""
    return _blend(images, _grey(images), factors)


def adjust_hue(images: Tensor, shifts: Tensor) -> Tensor:
    """Turn the hue of each image; `shifts` are in turns of the colour wheel, −0.5…0.5.

    By way of hue, saturation and value: Smith, "Color gamut transform pairs", SIGGRAPH 1978.
    """
    red, green, blue = images.unbind(dim=1)
    value, least = images.amax(dim=1), images.amin(dim=1)
    chroma = value - least
    grey = chroma == 0
    divisor = torch.where(grey, torch.ones_like(chroma), chroma)
    # The hue in sixths of a turn, by the channel that is largest.
    hue = torch.where(
        value == red,
        (green - blue) / divisor,
        torch.where(value == green, 2 + (blue - red) / divisor, 4 + (red - green) / divisor),
    )
    hue = torch.where(grey, torch.zeros_like(hue), hue) + 6 * shifts[:, None, None]
    # Each channel is the value, less the part of the chroma that its place on the wheel takes away.
    channels = []
    for start in (5, 3, 1):
        place = (start + hue) % 6
        part = torch.minimum(place, 4 - place).clamp(0, 1)
        channels.append(value - chroma * part)
    return torch.stack(channels, dim=1)


def _grey(images: Tensor) -> Tensor:
    weights = [image * share for image, share in zip(images.unbind(dim=1), LUMA, strict=True)]
    return (weights[0] + weights[1] + weights[2])[:, None]


def _blend(images: Tensor, other: Tensor, factors: Tensor) -> Tensor:
    factor = _for_each(factors)
    return (factor * images + (1 - factor) * other).clamp(0, 1)


def _for_each(values: Tensor) -> Tensor:
    return values[:, None, None, None]
