"""The loss of a training."""

from torch import Tensor
from torch.nn.functional import cross_entropy

from imagepipe.augmentation.mixing import MixedLabels
from imagepipe.config.recipe import Loss


def loss_per_image(logits: Tensor, labels: MixedLabels, options: Loss) -> Tensor:
    """Return the cross-entropy, float [B], of float logits [B, classes].

    For a mixed image it is lam · loss(own label) + (1 − lam) · loss(partner's label).
    """
    smoothing = options.label_smoothing
    losses = cross_entropy(logits, labels.labels, reduction="none", label_smoothing=smoothing)
    if labels.partner_labels is None or labels.lam is None:
        return losses
    partner_losses = cross_entropy(
        logits, labels.partner_labels, reduction="none", label_smoothing=smoothing
    )
    return partner_losses.lerp(losses, labels.lam)
