"""The loss of a training."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from imagepipe.augmentation.mixing import MixedLabels
from imagepipe.config.recipe import Loss

# A power of less would have an infinite gradient.
MIN_DOUBT = 1e-12


def loss_per_image(
    logits: Tensor, labels: MixedLabels, options: Loss, class_weights: Tensor | None = None
) -> Tensor:
    """Return the loss, float [B], of float logits [B, classes].

    For labels int64 [B] it is the cross-entropy. For labels [B, classes] of 0 and 1 it is the mean
    over the classes of the binary cross-entropy, as in torch.nn.BCEWithLogitsLoss. For a mixed
    image it is lam · loss(own label) + (1 − lam) · loss(partner's label), which equals the loss of
    the mixed target unless `focal_gamma` is set. class_weights: float32 [classes], those of
    `balanced_class_weights`.
    """
    loss = binary_cross_entropy if labels.labels.dim() == 2 else cross_entropy
    losses = loss(logits, labels.labels, options, class_weights)
    if labels.partner_labels is None or labels.lam is None:
        return losses
    return loss(logits, labels.partner_labels, options, class_weights).lerp(losses, labels.lam)


def cross_entropy(
    logits: Tensor, labels: Tensor, options: Loss, class_weights: Tensor | None
) -> Tensor:
    """Return the cross-entropy of labels int64 [B], times the weights of their classes.

    The focal factor is (1 − p)^γ with p the probability of the label, whatever the smoothing (Lin
    et al., arXiv 1708.02002).
    """
    smoothing = options.label_smoothing
    losses = F.cross_entropy(logits, labels, reduction="none", label_smoothing=smoothing)
    if options.focal_gamma:
        log_p = logits.log_softmax(dim=1).gather(1, labels[:, None])[:, 0]
        losses = losses * focal_factor(-log_p.expm1(), options.focal_gamma)
    if class_weights is not None:
        losses = losses * class_weights[labels]
    return losses


def binary_cross_entropy(
    logits: Tensor, labels: Tensor, options: Loss, class_weights: Tensor | None
) -> Tensor:
    """Return the mean over the classes of the binary cross-entropy of labels [B, classes].

    Label smoothing moves 0 and 1 towards 1/2. The focal factor of a class is (1 − p)^γ with p the
    probability of its label, 0 or 1.
    """
    has_class = labels.float()
    targets = has_class.lerp(torch.full_like(has_class, 0.5), options.label_smoothing)
    losses = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    if options.focal_gamma:
        doubt = (logits * (1 - 2 * has_class)).sigmoid()
        losses = losses * focal_factor(doubt, options.focal_gamma)
    if class_weights is not None:
        losses = losses * class_weights
    return losses.mean(dim=1)


def focal_factor(doubt: Tensor, gamma: float) -> Tensor:
    """Return doubt^gamma of 1 − p; where p is 1, it has no gradient."""
    return doubt.clamp(min=MIN_DOUBT).pow(gamma)


def balanced_class_weights(labels: np.ndarray, num_classes: int) -> Tensor:
    """Return weights, float32 [classes], inverse to the number of images of each class.

    labels: those of the training images. The mean over the images of the weights of their labels is
    1. With several labels, each class has a loss in every image, and the mean over the classes is
    1.
    """
    inverse = 1 / np.maximum(images_per_class(labels, num_classes), 1)
    mean = inverse.mean() if labels.ndim == 2 else inverse[labels].mean()
    return torch.from_numpy(inverse / mean).float()


def images_per_class(labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Return the number of images of each class, int64 [classes]; labels: [N] or [N, classes]."""
    if labels.ndim == 2:
        return np.asarray(labels.sum(axis=0, dtype=np.int64))
    return np.bincount(labels, minlength=num_classes)


def answers_are_right(logits: Tensor, labels: Tensor) -> Tensor:
    """Say for each image whether its class is the likeliest, bool [B].

    With labels [B, classes]: whether its classes are those with a probability of 1/2 or more.
    """
    if labels.dim() == 2:
        return ((logits >= 0) == labels.bool()).all(dim=1)
    return logits.argmax(dim=1) == labels
