"""The loss, against PyTorch's own."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from imagepipe.augmentation.mixing import MixedLabels
from imagepipe.config.recipe import Loss
from imagepipe.training.loss import loss_per_image


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_of_each_image_is_the_smoothed_cross_entropy(smoothing: float) -> None:
    logits, labels = torch.randn(6, 4), torch.tensor([0, 1, 2, 3, 0, 1])
    losses = loss_per_image(logits, MixedLabels(labels), Loss(label_smoothing=smoothing))
    theirs = nn.CrossEntropyLoss(label_smoothing=smoothing)(logits, labels)
    torch.testing.assert_close(losses.mean(), theirs)
    logs = logits.log_softmax(dim=1)
    target = torch.eye(4)[labels] * (1 - smoothing) + smoothing / 4
    torch.testing.assert_close(losses, -(logs * target).sum(dim=1))


def test_the_loss_of_a_mixed_image_is_that_of_its_mixed_target() -> None:
    logits, labels = torch.randn(4, 3), torch.tensor([0, 1, 2, 0])
    lam = torch.tensor([0.9, 0.5, 0.2, 1.0])
    ours = loss_per_image(logits, MixedLabels(labels, labels.flip(0), lam), Loss())
    targets = torch.zeros(4, 3)
    for index in range(4):
        targets[index, labels[index]] += lam[index]
        targets[index, labels[3 - index]] += 1 - lam[index]
    torch.testing.assert_close(ours, F.cross_entropy(logits, targets, reduction="none"))
