"""Where in an image a network sees a class, by one of two methods.

- Occlusion (Zeiler and Fergus, arXiv 1311.2901, section 4.2): the places whose covering lowers the
  class's logit. It suits every network, and takes 65 forward passes.
- Grad-CAM (Selvaraju et al., arXiv 1610.02391, section 3): the places of the last feature map whose
  channels raise the logit. It takes little more than one forward pass.

Grad-CAM says little about small images, whose last feature map has few places. The logits of
networks that were trained on CIFAR-10 fall little more without the quarter of the image that it
finds than without a random quarter, and far more without that of occlusion.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from imagepipe.augmentation.normalize import Normalize
from imagepipe.augmentation.resizing import resize_images
from imagepipe.dataset.packed import map_array
from imagepipe.models.model_files import load_model
from imagepipe.prediction.predict import images_at_once

# Images of at most so many pixels are occluded, whatever the network.
SMALL_IMAGE = 64 * 64
# Covered squares along each side of an image, and their side. Neighbors overlap.
SQUARES = 8
SQUARE_SIDE = 1 / 4
# Grad-CAM needs a feature map with so many places along its shorter side.
MIN_PLACES = 7


def class_heat(model: nn.Module, images: Tensor, classes: Tensor) -> tuple[Tensor, str]:
    """Say where a network in evaluation mode sees some classes in each image, and by which method.

    images: normalized float32 [B, 3, H, W], on the model's device. classes: int64 [B, K], numbers
    of logits. The heat is float32 [B, K, h, w] on the CPU, to be enlarged to H and W. It is 1 at
    the hottest place, and 0 where nothing speaks for the class. The method is in words for people.
    """
    pairs = list(zip(images, classes, strict=True))
    height, width = images.shape[-2:]
    if height * width > SMALL_IMAGE:
        maps = [found for pair in pairs if (found := grad_cam(model, *pair)) is not None]
        if len(maps) == len(pairs):
            return _scaled(maps), "Grad-CAM"
    return _scaled([occlusion(model, *pair) for pair in pairs]), "occlusion"


def _scaled(maps: Sequence[Tensor]) -> Tensor:
    heat = torch.stack(list(maps)).cpu().clamp(min=0)
    largest = heat.amax(dim=(2, 3), keepdim=True)
    return heat / largest.where(largest > 0, 1)


def explain(
    model_file: Path,
    labelled: Path,
    rows: Sequence[int],
    classes: Sequence[Sequence[str | None]],
) -> tuple[np.ndarray, np.ndarray, str]:
    """Return images of a packed array as a trained model sees them, and where it looks, on the CPU.

    rows: the images' positions. classes: the names of each image's classes, as many for each; those
    that are None get some heat, too. The images are uint8 [B, H, W, 3]; for the heat and its method
    see `class_heat`.
    """
    model, description = load_model(model_file)
    stored = torch.from_numpy(map_array(labelled, "c")[list(rows)])
    images = resize_images(stored, description.image_size, description.interpolation)
    numbers = [[description.classes.index(name) if name else 0 for name in one] for one in classes]
    # For a figure's few images, no GPU is worth the wait for one.
    model.to(memory_format=torch.channels_last)
    normalize = Normalize.from_statistics(description.mean, description.std, torch.device("cpu"))
    inputs = normalize(images.permute(0, 3, 1, 2))
    heat, method = class_heat(model, inputs, torch.tensor(numbers))
    return images.numpy(), heat.numpy(), method


@torch.inference_mode()
def occlusion(model: nn.Module, image: Tensor, classes: Tensor) -> Tensor:
    """Return by how much the logits of classes [K] fall for each covered square.

    image: [3, H, W]. The squares have its shape and its mean color. The result is float32
    [K, SQUARES, SQUARES].
    """
    height, width = image.shape[-2:]
    rows, columns = (_squares(size).to(image.device) for size in (height, width))
    covered = (rows[:, None, :, None] & columns[None, :, None, :]).reshape(-1, 1, height, width)
    mean = image.mean(dim=(1, 2), keepdim=True)
    logits = [
        model(torch.where(chunk, mean, image))[:, classes].float()
        for chunk in torch.split(covered, images_at_once(64, (height, width)))
    ]
    falls: Tensor = model(image[None])[:, classes].float() - torch.cat(logits)
    return falls.T.reshape(-1, SQUARES, SQUARES)


def _squares(size: int) -> Tensor:
    """Say for each square and each pixel of an axis, bool [SQUARES, size], whether it is inside."""
    centers = (torch.arange(SQUARES) + 0.5) / SQUARES
    pixels = (torch.arange(size) + 0.5) / size
    return (pixels - centers[:, None]).abs() <= SQUARE_SIDE / 2


def grad_cam(model: nn.Module, image: Tensor, classes: Tensor) -> Tensor | None:
    """Return Grad-CAM's maps of classes [K] for an image [3, H, W]: float32 [K, h, w].

    The last feature map is the last output of a layer that has more than one place. The result is
    None if that is no map of the image, as in a transformer, or a small one.
    """
    last = torch.empty(0)

    def keep(_module: nn.Module, _inputs: Any, output: Any) -> None:
        nonlocal last
        if isinstance(output, Tensor) and output.ndim > 2 and math.prod(output.shape[2:]) > 1:
            last = output

    hooks = [module.register_forward_hook(keep) for module in model.modules()]
    try:
        logits = model(image[None])[0, classes]
    finally:
        for hook in hooks:
            hook.remove()
    if not _is_map_of(last, image):
        return None
    maps = []
    for logit in logits:
        gradient = torch.autograd.grad(logit, last, retain_graph=True)[0]
        weights = gradient.mean(dim=(2, 3), keepdim=True)
        maps.append((weights * last).sum(dim=1)[0].detach())
    return torch.stack(maps)


def _is_map_of(output: Tensor, image: Tensor) -> bool:
    """Say whether a layer's output is [1, C, h, w] with the image's shape and enough places."""
    if output.ndim != 4:
        return False
    (rows, columns), (height, width) = output.shape[2:], image.shape[1:]
    # Each side may be rounded by a place, as by layers without padding.
    has_shape = abs(rows * width - columns * height) <= height + width
    return has_shape and min(rows, columns) >= MIN_PLACES and rows <= height and columns <= width
