"""Averages of a network's weights over its training, which generalise better than the last ones.

Weights and the statistics of batch normalisation are averaged alike, so that they belong together.
"""

from typing import Any

import torch
from torch import Tensor, nn


class WeightAverage:
    """A running average of a network's weights, brought up to date every few steps.

    ema (Polyak averaging, as in TensorFlow's ExponentialMovingAverage with its num_updates): at
    each update the average keeps the part `decay` of itself, and less in the beginning. The network
    trains on undisturbed; the average is what is validated and kept.

    lookahead (Zhang et al., arXiv 1907.08610, with the growing part of airbench): the network
    itself is set back to the average, which keeps the part decay^every · (part of the training that
    is done)³ of itself.
    """

    def __init__(self, model: nn.Module, options: dict[str, Any]) -> None:
        self.options = options
        self.tensors = {name: tensor.clone() for name, tensor in _averaged(model).items()}
        self.updates = 0

    @torch.no_grad()
    def after_step(self, model: nn.Module, step: int, total: int) -> None:
        """Bring the average up to date after a step, counted from 0, if it is one of the few."""
        if (step + 1) % self.options["every"]:
            return
        self.updates += 1
        current = _averaged(model)
        if self.options["name"] == "ema":
            kept = min(self.options["decay"], (1 + self.updates) / (10 + self.updates))
        else:
            done = (step + 1) / total
            kept = self.options["decay"] ** self.options["every"] * done**3
        averages = list(self.tensors.values())
        networks = [current[name] for name in self.tensors]
        torch._foreach_lerp_(averages, networks, 1 - kept)
        if self.options["name"] == "lookahead":
            torch._foreach_copy_(networks, averages)

    def state(self) -> dict[str, Any]:
        return {"tensors": self.tensors, "updates": self.updates}

    def restore(self, state: dict[str, Any]) -> None:
        for name, tensor in state["tensors"].items():
            self.tensors[name].copy_(tensor)
        self.updates = state["updates"]

    @torch.no_grad()
    def put_into(self, model: nn.Module) -> None:
        """Set a network's weights and statistics to the average."""
        for name, tensor in _averaged(model).items():
            tensor.copy_(self.tensors[name])


def _averaged(model: nn.Module) -> dict[str, Tensor]:
    """Return the weights and statistics, by name, without the counters of batch normalisation."""
    return {
        name: tensor.detach()
        for name, tensor in model.state_dict().items()
        if tensor.is_floating_point()
    }
