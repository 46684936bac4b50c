"""The loss, against PyTorch's own."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from imagepipe.augmentation.mixing import MixedLabels
from imagepipe.config.recipe import Loss
from imagepipe.training.loss import answers_are_right, balanced_class_weights, loss_per_image


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


# Several labels.

SOME = torch.tensor([[1, 0, 0], [1, 1, 0], [0, 0, 0], [1, 1, 1]])


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_loss_of_several_labels_is_pytorchs_mean_binary_cross_entropy(smoothing: float) -> None:
    logits = torch.randn(4, 3)
    losses = loss_per_image(logits, MixedLabels(SOME), Loss(label_smoothing=smoothing))
    targets = SOME * (1 - smoothing) + smoothing / 2
    torch.testing.assert_close(losses.mean(), nn.BCEWithLogitsLoss()(logits, targets))
    p = logits.sigmoid()
    by_hand = -(targets * p.log() + (1 - targets) * (1 - p).log()).mean(dim=1)
    torch.testing.assert_close(losses, by_hand)


def test_the_loss_of_an_image_with_several_labels_is_that_of_its_mixed_target() -> None:
    logits, lam = torch.randn(4, 3), torch.tensor([0.9, 0.5, 0.2, 1.0])
    mixed = MixedLabels(SOME, SOME.flip(0), lam)
    targets = lam[:, None] * SOME + (1 - lam[:, None]) * SOME.flip(0)
    expected = F.binary_cross_entropy_with_logits(logits, targets, reduction="none").mean(dim=1)
    torch.testing.assert_close(loss_per_image(logits, mixed, Loss()), expected)


def test_all_labels_of_an_image_must_be_right() -> None:
    logits = torch.tensor([[2.0, -1, -1], [2, -1, -1], [-1, -1, -1], [0, 0, 0]])
    assert answers_are_right(logits, SOME).tolist() == [True, False, True, True]
    assert answers_are_right(logits, torch.tensor([0, 1, 2, 0])).tolist() == [
        True,
        False,
        False,
        True,
    ]


# Unequal classes.


@pytest.mark.parametrize("gamma", [0.5, 2.0])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_focal_loss_is_that_of_the_paper(gamma: float, smoothing: float) -> None:
    logits, labels = torch.randn(6, 4), torch.tensor([0, 1, 2, 3, 0, 1])
    options = Loss(focal_gamma=gamma, label_smoothing=smoothing)
    plain = loss_per_image(logits, MixedLabels(labels), Loss(label_smoothing=smoothing))
    p = logits.softmax(dim=1)[torch.arange(6), labels]
    focal = loss_per_image(logits, MixedLabels(labels), options)
    torch.testing.assert_close(focal, (1 - p) ** gamma * plain)
    if not smoothing:
        torch.testing.assert_close(focal, -((1 - p) ** gamma) * p.log())


def test_focal_loss_of_several_labels_is_that_of_the_paper() -> None:
    logits = torch.randn(4, 3)
    p = logits.sigmoid()
    p_t = torch.where(SOME == 1, p, 1 - p)
    losses = loss_per_image(logits, MixedLabels(SOME), Loss(focal_gamma=2.0))
    torch.testing.assert_close(losses, (-((1 - p_t) ** 2) * p_t.log()).mean(dim=1))


@pytest.mark.parametrize("gamma", [0.1, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("size", [1.0, 16.0, 20.0, 200.0])
def test_a_sure_answer_has_a_finite_gradient(gamma: float, several: bool, size: float) -> None:
    logits = torch.tensor([[size, -size, -size], [-size, size, -size]], requires_grad=True)
    labels = torch.tensor([[1, 0, 0], [1, 0, 0]]) if several else torch.tensor([0, 0])
    options = Loss(focal_gamma=gamma, label_smoothing=0.1)
    losses = loss_per_image(logits, MixedLabels(labels), options)
    losses.sum().backward()
    assert losses.isfinite().all()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_the_losses_of_a_class_are_multiplied_by_its_weight() -> None:
    labels = np.array([0] * 6 + [1] * 3 + [2])
    weights = balanced_class_weights(labels, 3)
    assert weights[labels].mean().item() == pytest.approx(1)
    # As scikit-learn's "balanced".
    torch.testing.assert_close(weights, torch.tensor([10 / 18, 10 / 9, 10 / 3]))
    logits, targets = torch.randn(10, 3), MixedLabels(torch.from_numpy(labels))
    torch.testing.assert_close(
        loss_per_image(logits, targets, Loss(), weights),
        loss_per_image(logits, targets, Loss()) * weights[labels],
    )


def test_a_mixed_image_has_the_weights_of_both_classes() -> None:
    logits, labels, lam = torch.randn(2, 3), torch.tensor([0, 2]), torch.tensor([0.25, 0.5])
    weights = torch.tensor([1.0, 2.0, 4.0])
    mixed = loss_per_image(logits, MixedLabels(labels, labels.flip(0), lam), Loss(), weights)
    own, partner = (
        F.cross_entropy(logits, each, reduction="none") * weights[each]
        for each in (labels, labels.flip(0))
    )
    torch.testing.assert_close(mixed, lam * own + (1 - lam) * partner)


def test_each_of_several_labels_has_its_weight_and_their_mean_is_one() -> None:
    labels = np.array([[1, 1, 0], [1, 0, 0], [1, 0, 0], [1, 1, 0]], dtype=np.uint8)
    weights = balanced_class_weights(labels, 3)
    # A class without images counts as one with one image.
    torch.testing.assert_close(weights, torch.tensor([1.0, 2.0, 4.0]) * 3 / 7)
    logits, targets = torch.randn(4, 3), torch.from_numpy(labels)
    losses = F.binary_cross_entropy_with_logits(logits, targets.float(), reduction="none")
    torch.testing.assert_close(
        loss_per_image(logits, MixedLabels(targets), Loss(), weights),
        (losses * weights).mean(dim=1),
    )
