"""Muon: an optimizer whose steps are orthogonal matrices, for convolution filters.

Keller Jordan, https://kellerjordan.github.io/posts/muon/. As in the record of 94% on CIFAR-10
(https://github.com/KellerJordan/cifar10-airbench), filters also keep a fixed norm, and SGD trains
all other parameters. PyTorch's own torch.optim.Muon takes matrices only.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

# The parameters and the options of a group, as in torch.optim.Optimizer.
ParameterGroup = dict[str, Any]

# Of the polynomial a·x + b·x³ + c·x⁵ that each iteration applies to the singular values. Jordan
# chose them for a steep slope at zero; the values end near 1 instead of converging to it.
COEFFICIENTS = (3.4445, -4.7750, 2.0315)


class Muon:
    """Muon for the parameter groups with `orthogonal: True`, Nesterov's SGD for the others.

    Each group has `params`, `lr` (a number, or a tensor of one on the parameters' device), and may
    have `momentum`, `weight_decay` (of SGD: times the parameter, added to its gradient),
    `orthogonal` and `keeps_norm`. The filters of orthogonal groups get the norm of an orthogonal
    matrix of their shape [out, …], √out; with `keeps_norm` they keep the norm that they have now,
    and the steps are in proportion, as pretrained networks need. Parameters that require no
    gradient stay as they are. A filter [out, in, height, width] is the matrix
    [out, in · height · width]. Matrices of the same shape are orthogonalized together, in
    `ns_steps` iterations, in `dtype`.

    It has the methods of torch.optim.Optimizer that a training uses, but does not inherit from it:
    the first call of that class imports PyTorch's compiler, which takes longer than an epoch of a
    short training.
    """

    def __init__(self, groups: Iterable[ParameterGroup], ns_steps: int, dtype: torch.dtype) -> None:
        self.ns_steps, self.dtype = ns_steps, dtype
        defaults = {"momentum": 0.0, "weight_decay": 0.0, "orthogonal": False, "keeps_norm": False}
        self.param_groups: list[ParameterGroup] = [defaults | group for group in groups]
        self.momentum_buffers: dict[Tensor, Tensor] = {
            parameter: torch.zeros_like(parameter)
            for group in self.param_groups
            for parameter in group["params"]
        }
        # Of filters whose norm is not that of an orthogonal matrix, its multiple.
        self.scales: dict[Tensor, Tensor] = {
            parameter: parameter.detach().norm() / len(parameter) ** 0.5
            for group in self.param_groups
            if group["keeps_norm"]
            for parameter in group["params"]
        }

    def zero_grad(self) -> None:
        """Remove the gradients."""
        for parameter in self.momentum_buffers:
            parameter.grad = None

    def state_dict(self) -> dict[str, list[Tensor]]:
        """Return the momentum buffers, in the order of the parameters, as "state"."""
        return {"state": list(self.momentum_buffers.values()), "param_groups": []}

    def load_state_dict(self, state: dict[str, list[Tensor]]) -> None:
        for mine, theirs in zip(self.momentum_buffers.values(), state["state"], strict=True):
            mine.copy_(theirs)

    @torch.no_grad()
    def step(self) -> None:
        """Update all parameters that require a gradient and have one."""
        for group in self.param_groups:
            pairs = [(p, p.grad) for p in group["params"] if p.requires_grad and p.grad is not None]
            if not pairs:
                continue
            parameters, gradients = (list(tensors) for tensors in zip(*pairs, strict=True))
            if group["weight_decay"]:
                decay = group["weight_decay"]
                gradients = list(torch._foreach_add(gradients, parameters, alpha=decay))
            updates = self._nesterov(parameters, gradients, group["momentum"])
            if group["orthogonal"]:
                norms = torch._foreach_norm(parameters)
                for parameter, norm in zip(parameters, norms, strict=True):
                    parameter.mul_(len(parameter) ** 0.5 / norm)
                updates = self._orthogonalized(updates)
                if group["keeps_norm"]:
                    scales = [self.scales[parameter] for parameter in parameters]
                    torch._foreach_mul_(parameters, scales)
                    torch._foreach_mul_(updates, scales)
            lr = torch.as_tensor(group["lr"], device=parameters[0].device)
            for parameter, update in zip(parameters, updates, strict=True):
                parameter.addcmul_(update, lr, value=-1)

    def _nesterov(
        self, parameters: list[Tensor], gradients: list[Tensor], momentum: float
    ) -> list[Tensor]:
        """Set buffer = momentum · buffer + gradient, and return gradient + momentum · buffer."""
        buffers = [self.momentum_buffers[parameter] for parameter in parameters]
        torch._foreach_mul_(buffers, momentum)
        torch._foreach_add_(buffers, gradients)
        return list(torch._foreach_add(gradients, buffers, alpha=momentum))

    def _orthogonalized(self, updates: list[Tensor]) -> list[Tensor]:
        indices_by_shape: dict[torch.Size, list[int]] = defaultdict(list)
        matrices = [update.reshape(len(update), -1) for update in updates]
        for index, matrix in enumerate(matrices):
            indices_by_shape[matrix.shape].append(index)
        for indices in indices_by_shape.values():
            stack = torch.stack([matrices[index] for index in indices])
            results = orthogonalize(stack, self.ns_steps, self.dtype)
            for index, matrix in zip(indices, results, strict=True):
                updates[index] = matrix.view(updates[index].shape)
        return updates


def orthogonalize(matrices: Tensor, ns_steps: int, dtype: torch.dtype) -> Tensor:
    """Return matrices with the same singular vectors, and singular values near 1.

    matrices: float32 [N, rows, columns]; so is the result. ns_steps: at least 1.

    This is the Newton-Schulz iteration. Each of its matrices is a polynomial in the square (X·Xᵀ)
    of the first matrix X, times X. So only squares are iterated, in float32; that leaves two large
    products, which are computed in `dtype`.
    """
    a, b, c = COEFFICIENTS
    # The iteration needs singular values of at most 1, and none is larger than this norm.
    norms = torch.linalg.matrix_norm(matrices, keepdim=True).clamp(min=1e-7)
    is_tall = matrices.shape[1] > matrices.shape[2]
    values = (matrices / norms).to(dtype)
    values = values.mT if is_tall else values
    square = torch.bmm(values, values.mT).float()
    scaled_identity = a * torch.eye(square.shape[-1], device=square.device)

    def polynomial(square: Tensor) -> Tensor:
        return torch.baddbmm(torch.add(scaled_identity, square, alpha=b), square, square, alpha=c)

    product = factor = polynomial(square)
    for _ in range(ns_steps - 1):
        square = torch.bmm(torch.bmm(factor, square), factor)
        factor = polynomial(square)
        product = torch.bmm(factor, product)
    result = torch.bmm(product.to(dtype), values)
    return (result.mT if is_tall else result).float()
