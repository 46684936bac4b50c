"""Models on the features of a frozen network: the network, and heads that make logits of them.

The features of an image are the input of the network's own last layer, float32 [D].
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imagepipe.config.recipe import (
    FrozenNetwork,
    KNNHead,
    LinearHead,
    MLPHead,
)
from imagepipe.models.heads import head_names, last_layers
from imagepipe.models.torchvision_timm import create_library_model

# The least share of the votes of a class, as a fraction of an equal share: without any, the logit
# would be minus infinity.
LEAST_SHARE = 0.01
# Instead of the cosine of an image that does not vote.
FAR = -1e4


class FrozenWithHead(nn.Module):
    """A frozen network and a head on its features, as one network.

    With `flip`, the head gets the mean of the features of an image and of its mirror image.
    """

    def __init__(self, features: nn.Module, head: nn.Module, *, flip: bool) -> None:
        super().__init__()
        self.features, self.head, self.flip = features, head, flip

    def forward(self, images: Tensor) -> Tensor:
        features = image_features(self.features, images, flip=self.flip)
        return head_logits(self.head, features)


def image_features(network: nn.Module, images: Tensor, *, flip: bool) -> Tensor:
    """Return features, float32 [B, D], of normalized images [B, 3, H, W]."""
    mirrored: Tensor | None = network(images.flip(-1)).float() if flip else None
    # The image itself comes last, because Grad-CAM takes the last feature map.
    features: Tensor = network(images).float()
    return features if mirrored is None else (features + mirrored) / 2


def head_logits(head: nn.Module, features: Tensor) -> Tensor:
    """Return logits, float32 [B, classes], of features [B, D]; heads always compute in fp32."""
    with torch.autocast(features.device.type, enabled=False):
        logits: Tensor = head(features)
    return logits


def create_frozen_network(
    options: FrozenNetwork, weights: Path | None = None, image_size: Sequence[int] | None = None
) -> tuple[nn.Module, int]:
    """Return a network that maps images [B, 3, H, W] to features [B, D], and D.

    For the arguments, and the errors raised, see `create_model`.
    """
    # The number of classes does not matter: the last layer goes.
    network = create_library_model(options.network, 2, weights, image_size)
    if options.name == "timm":
        size = int(network.head_hidden_size)  # type: ignore[arg-type]
        network.reset_classifier(0)  # type: ignore[operator]
        return network, size
    (name,) = last_layers(network, head_names(network))
    last = network.get_submodule(name)
    network.set_submodule(name, nn.Identity())
    assert isinstance(last, nn.Linear | nn.Conv2d)
    return network, last.in_features if isinstance(last, nn.Linear) else last.in_channels


def create_frozen_with_head(
    options: LinearHead | MLPHead | KNNHead,
    num_classes: int,
    weights: Path | None = None,
    image_size: Sequence[int] | None = None,
) -> FrozenWithHead:
    """Return the model of a recipe, with a new head (see `create_model`)."""
    network, size = create_frozen_network(options.on, weights, image_size)
    return FrozenWithHead(network, create_head(options, size, num_classes), flip=options.on.flip)


def create_head(options: LinearHead | MLPHead | KNNHead, size: int, num_classes: int) -> nn.Module:
    """Return a head that maps features [B, size] to logits [B, classes]."""
    match options:
        case LinearHead():
            return nn.Linear(size, num_classes)
        case MLPHead():
            return nn.Sequential(
                nn.Linear(size, options.hidden_units),
                nn.ReLU(),
                nn.Dropout(options.dropout),
                nn.Linear(options.hidden_units, num_classes),
            )
        case KNNHead():
            return NearestNeighbors(options, size, num_classes)


class NearestNeighbors(nn.Module):
    """The votes of the most similar training images, weighted by exp(cosine / temperature).

    embeddings: float32 [N, D], the features of the training images, each of length 1. labels: int64
    [N], or uint8 [N, classes] of 0 and 1 with several. The softmax of the logits, or their sigmoid
    with several labels, is each class's share of the votes.
    """

    embeddings: Tensor
    labels: Tensor

    def __init__(self, options: KNNHead, size: int, num_classes: int) -> None:
        super().__init__()
        self.neighbors, self.temperature = options.neighbors, options.temperature
        self.num_classes = num_classes
        self.register_buffer("embeddings", torch.zeros(1, size))
        self.register_buffer("labels", torch.zeros(1, dtype=torch.int64))

    def remember(self, features: Tensor, labels: Tensor) -> None:
        """Take the features [N, D] and labels of the training images."""
        self.embeddings, self.labels = F.normalize(features), labels

    def forward(self, features: Tensor, left_out: Tensor | None = None) -> Tensor:
        """Return logits of features [B, D]; `left_out`, int64 [B], are rows that do not vote."""
        similarity = F.normalize(features) @ self.embeddings.T
        if left_out is not None:
            similarity = similarity.scatter(1, left_out[:, None], FAR)
        nearest = similarity.topk(min(self.neighbors, len(self.embeddings)), dim=1)
        votes = (nearest.values / self.temperature).softmax(dim=1)
        labels = self.labels[nearest.indices]
        has_class = labels if labels.dim() == 3 else F.one_hot(labels, self.num_classes)
        shares = (votes[:, :, None] * has_class).sum(dim=1)
        least = LEAST_SHARE / self.num_classes
        if labels.dim() == 3:
            return shares.clamp(least, 1 - least).logit()
        return shares.clamp(min=least).log()

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *rest: Any) -> None:
        # The number of images is that of the file.
        for name in ("embeddings", "labels"):
            if f"{prefix}{name}" in state_dict:
                setattr(self, name, torch.empty_like(state_dict[f"{prefix}{name}"]))
        super()._load_from_state_dict(state_dict, prefix, *rest)
