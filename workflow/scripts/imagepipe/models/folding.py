"""Batch normalization in evaluation mode as a part of the convolutions before it."""

from torch import Tensor, nn


def fold_frozen_batch_norm(model: nn.Module, example: Tensor) -> int:
    """Return 0: a stand-in."""
    return 0
