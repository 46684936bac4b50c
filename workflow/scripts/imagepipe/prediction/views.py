"""Test-time augmentation: mean logits over several views of an image."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imagepipe.config.recipe import TestTimeAugmentation

# With a larger gap between the two largest probabilities, a shift by a pixel hardly ever changes
# the predicted class.
SURE_GAP = 0.25


def mean_over_views(
    model: nn.Module,
    images: Tensor,
    test_time_augmentation: TestTimeAugmentation,
    *,
    several_labels: bool = False,
) -> Tensor:
    """Return float32 logits [B, classes] of float images [B, 3, H, W].

    none: those of the image. flip: the mean over it and its mirror image. flip_and_shift: for
    unsure images, half of the weight goes to both of these shifted by a pixel up and left, and down
    and right. airbench mirrors the shifted images instead; shifting the mirror image gives an image
    and its mirror image the same six views.
    """
    if test_time_augmentation == "none":
        logits: Tensor = model(images).float()
        return logits
    logits = torch.stack([model(view).float() for view in (images, images.flip(-1))]).mean(dim=0)
    if test_time_augmentation == "flip":
        return logits
    rows = is_unsure(logits, several_labels=several_labels).nonzero()[:, 0]
    if len(rows):
        logits[rows] = (logits[rows] + mean_over_shifts(model, images[rows])) / 2
    return logits


def is_unsure(logits: Tensor, *, several_labels: bool = False) -> Tensor:
    """Say for each row of logits [B, classes] whether the two largest probabilities are close.

    With several labels: whether those of having and of not having some class are. The result is
    bool [B]. The record runs of airbench, too, take more views of such images only.
    """
    if several_labels:
        return ((2 * logits.sigmoid() - 1).abs() < SURE_GAP).any(dim=1)
    largest = logits.softmax(dim=1).topk(min(2, logits.shape[1])).values
    return largest[:, 0] - largest[:, 1:].sum(dim=1) < SURE_GAP


def mean_over_shifts(model: nn.Module, images: Tensor) -> Tensor:
    """Return mean logits over images [B, 3, H, W] and their mirror images, shifted both ways."""
    height, width = images.shape[-2:]
    shifted = []
    for view in (images, images.flip(-1)):
        padded = F.pad(view, (1, 1, 1, 1), mode="reflect")
        shifted += [padded[..., :height, :width], padded[..., 2:, 2:]]
    return torch.stack([model(view).float() for view in shifted]).mean(dim=0)
