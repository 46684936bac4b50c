"""The optimiser, its learning rate over the epochs, and the loss."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def create_optimizer(model: nn.Module, options: dict[str, Any]) -> torch.optim.Optimizer:
    """Return the optimiser of a recipe's `optimizer` section."""
    return torch.optim.SGD(
        model.parameters(),
        lr=options["lr"],
        momentum=options["momentum"],
        nesterov=options["nesterov"],
        weight_decay=options["weight_decay"],
        fused=True,
    )


def learning_rate(
    schedule: dict[str, Any], highest: float, epochs: int, steps_per_epoch: int, step: int
) -> float:
    """Return the learning rate of a step, counted from 0 over the whole training.

    step: `highest` · decay^⌊epoch / period⌋, as torch.optim.lr_scheduler.StepLR.
    one_cycle: linearly from 0 to `highest` over the `warmup` part of the training, then linearly
    to 0 (Smith, arXiv 1708.07120, without its last phase). The rate belongs to the step's middle,
    so that it is never 0.
    """
    if schedule["name"] == "step":
        decays = step // steps_per_epoch // schedule["period"]
        return float(highest * schedule["decay"] ** decays)
    if schedule["name"] == "one_cycle":
        done = (step + 0.5) / (epochs * steps_per_epoch)
        warmup = schedule["warmup"]
        return float(highest * (done / warmup if done < warmup else (1 - done) / (1 - warmup)))
    raise ValueError(f"unknown schedule {schedule['name']!r}")


def loss_of_each(logits: Tensor, labels: Tensor, options: dict[str, Any]) -> Tensor:
    """Return the cross-entropy [B] of float logits [B, classes] with labels int64 [B]."""
    return F.cross_entropy(
        logits, labels, reduction="none", label_smoothing=options["label_smoothing"]
    )
