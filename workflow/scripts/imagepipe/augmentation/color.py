"""Changes of brightness, contrast, saturation and hue, in batches.

Each does what torchvision's function of the same name does to one image. Images are float
[B, 3, H, W] in 0…1, and stay in that range. Factors and shifts are float [B], one for each image.
"""

import torch
from torch import Tensor

# Weights of red, green and blue in perceived brightness (ITU-R BT.601).
LUMA = (0.2989, 0.587, 0.114)


def adjust_brightness(images: Tensor, factors: Tensor) -> Tensor:
    """Multiply each image by its factor."""
    return (images * factors[:, None, None, None]).clamp(0, 1)


def adjust_contrast(images: Tensor, factors: Tensor) -> Tensor:
    """Move each image away from its mean gray (factor > 1) or towards it."""
    return _blend(images, gray(images).mean(dim=(1, 2, 3), keepdim=True), factors)


def adjust_saturation(images: Tensor, factors: Tensor) -> Tensor:
    """Move each pixel away from its gray (factor > 1) or towards it."""
    return _blend(images, gray(images), factors)


def adjust_hue(images: Tensor, shifts: Tensor) -> Tensor:
    """Rotate the hue of each image by its shift, in turns of the color wheel, −0.5…0.5.

    By way of hue, saturation and value (Smith, "Color gamut transform pairs", SIGGRAPH 1978).
    """
    red, green, blue = images.unbind(dim=1)
    value, minimum = images.amax(dim=1), images.amin(dim=1)
    chroma = value - minimum
    gray = chroma == 0
    divisor = chroma.masked_fill(gray, 1)
    # The hue in sixths of a turn depends on which channel is the largest.
    hue = torch.where(
        value == red,
        (green - blue) / divisor,
        torch.where(value == green, 2 + (blue - red) / divisor, 4 + (red - green) / divisor),
    )
    hue = hue.masked_fill(gray, 0) + 6 * shifts[:, None, None]
    channels = []
    for start in (5, 3, 1):
        position = (start + hue) % 6
        fraction = torch.minimum(position, 4 - position).clamp(0, 1)
        channels.append(value - chroma * fraction)
    return torch.stack(channels, dim=1)


def gray(images: Tensor) -> Tensor:
    """Return the brightness of each pixel, [B, 1, H, W]."""
    red, green, blue = (
        channel * weight for channel, weight in zip(images.unbind(dim=1), LUMA, strict=True)
    )
    return (red + green + blue)[:, None]


def _blend(images: Tensor, other: Tensor, factors: Tensor) -> Tensor:
    factors = factors[:, None, None, None]
    return (factors * images + (1 - factors) * other).clamp(0, 1)
