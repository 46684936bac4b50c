"""Averages of a network's weights over its training, which generalize better than the last ones.

The statistics of batch normalization are averaged along with the weights they belong to.
"""

import torch
from torch import Tensor, nn

from imagepipe.config.recipe import EMA, Lookahead
from imagepipe.training.checkpoint import CheckpointState


class WeightAverage:
    """A running average of a network's weights, updated every few steps.

    ema (Polyak averaging, as TensorFlow's ExponentialMovingAverage with num_updates): at each
    update the average keeps the fraction `decay` of itself, and less at the beginning. It does not
    touch the training; the average is validated and kept.

    lookahead (Zhang et al., arXiv 1907.08610, with the growing fraction of airbench): the average
    keeps the fraction decay^every · (fraction of the training that is done)³ of itself, and the
    network continues from the average.
    """

    def __init__(self, model: nn.Module, options: EMA | Lookahead) -> None:
        self.options = options
        self.updates = 0
        self.restart(model)

    @torch.no_grad()
    def after_step(self, model: nn.Module, global_step: int, total_steps: int) -> None:
        """Update the average after a step, counted from 0, if its turn has come."""
        options = self.options
        if (global_step + 1) % options.every:
            return
        self.updates += 1
        if isinstance(options, EMA):
            kept = min(options.decay, (1 + self.updates) / (10 + self.updates))
        else:
            done = (global_step + 1) / total_steps
            kept = options.decay**options.every * done**3
        current = _averaged_tensors(model)
        averages = list(self.tensors.values())
        weights = [current[name] for name in self.tensors]
        torch._foreach_lerp_(averages, weights, 1 - kept)
        if isinstance(options, Lookahead):
            torch._foreach_copy_(weights, averages)

    def restart(self, model: nn.Module) -> None:
        """Start the average anew from a network's present weights."""
        self.tensors = {name: tensor.clone() for name, tensor in _averaged_tensors(model).items()}

    def state_dict(self) -> CheckpointState:
        return {"tensors": self.tensors, "updates": self.updates}

    def load_state_dict(self, state: CheckpointState) -> None:
        for name, tensor in state["tensors"].items():
            self.tensors[name].copy_(tensor)
        self.updates = state["updates"]

    @torch.no_grad()
    def copy_to(self, model: nn.Module) -> None:
        """Set a network's weights and statistics to the average."""
        for name, tensor in _averaged_tensors(model).items():
            tensor.copy_(self.tensors[name])


def _averaged_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Return weights and statistics by name, without batch normalization's counters."""
    return {
        name: tensor.detach()
        for name, tensor in model.state_dict().items()
        if tensor.is_floating_point()
    }
