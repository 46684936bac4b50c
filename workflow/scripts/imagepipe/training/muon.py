"""Muon: steps whose matrices are orthogonal, for the filters of convolutions.

Keller Jordan, https://kellerjordan.github.io/posts/muon/. Here as for the record of 94% on CIFAR-10
(https://github.com/KellerJordan/cifar10-airbench): filters also keep a fixed norm, and all that is
no filter is trained by SGD. PyTorch's own torch.optim.Muon takes matrices only.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

# Of the polynomial a·x + b·x³ + c·x⁵ that the iteration applies to all singular values. Jordan
# chose them for the steepest slope at zero, so that the values end near 1, and not at it.
COEFFICIENTS = (3.4445, -4.7750, 2.0315)


class Muon:
    """Muon for the parameter groups with `orthogonal: True`, Nesterov's SGD for the others.

    Each group has `params`, `lr` (a number, or a tensor of one on the parameters' device), and may
    have `momentum`, `weight_decay` (of SGD: times the parameter, added to its gradient) and
    `orthogonal`. A parameter that requires no gradient is left as it is. The matrix of a filter
    [out, in, height, width] is [out, in · height · width]. Matrices of the same shape go through
    the iteration together, in `dtype`.

    It has what a training uses of a torch.optim.Optimizer, and is none: the first call of that
    class imports PyTorch's compiler, which takes longer than a short training's epoch.
    """

    def __init__(
        self, groups: Iterable[dict[str, Any]], iterations: int, dtype: torch.dtype
    ) -> None:
        self.iterations, self.dtype = iterations, dtype
        defaults = {"momentum": 0.0, "weight_decay": 0.0, "orthogonal": False}
        self.param_groups: list[dict[str, Any]] = [defaults | group for group in groups]
        self.velocities = {
            parameter: torch.zeros_like(parameter)
            for group in self.param_groups
            for parameter in group["params"]
        }

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients, or set them to zero where they are."""
        gradients = [p.grad for p in self.velocities if p.grad is not None]
        if set_to_none:
            for parameter in self.velocities:
                parameter.grad = None
        elif gradients:
            torch._foreach_zero_(gradients)

    def state_dict(self) -> dict[str, Any]:
        """Return the velocities, in the order of the parameters."""
        return {"velocities": list(self.velocities.values())}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for mine, theirs in zip(self.velocities.values(), state["velocities"], strict=True):
            mine.copy_(theirs)

    @torch.no_grad()
    def step(self) -> None:
        """Change all parameters that require a gradient and have one."""
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
                updates = self._orthogonalised(updates)
            rate = torch.as_tensor(group["lr"], device=parameters[0].device)
            for parameter, update in zip(parameters, updates, strict=True):
                parameter.addcmul_(update, rate, value=-1)

    def _nesterov(
        self, parameters: list[Tensor], gradients: list[Tensor], momentum: float
    ) -> list[Tensor]:
        """Return gradient + momentum · velocity; velocity is momentum · itself + gradient."""
        velocities = [self.velocities[parameter] for parameter in parameters]
        torch._foreach_mul_(velocities, momentum)
        torch._foreach_add_(velocities, gradients)
        return list(torch._foreach_add(gradients, velocities, alpha=momentum))

    def _orthogonalised(self, updates: list[Tensor]) -> list[Tensor]:
        by_shape: dict[tuple[int, int], list[int]] = defaultdict(list)
        matrices = [update.reshape(len(update), -1) for update in updates]
        for index, matrix in enumerate(matrices):
            by_shape[matrix.shape[0], matrix.shape[1]].append(index)
        for indices in by_shape.values():
            stacked = torch.stack([matrices[index] for index in indices])
            for index, matrix in zip(
                indices, orthogonalise(stacked, self.iterations, self.dtype), strict=True
            ):
                updates[index] = matrix.view(updates[index].shape)
        return updates


def orthogonalise(matrices: Tensor, iterations: int, dtype: torch.dtype) -> Tensor:
    """Return matrices with the same singular vectors, and singular values near 1.

    matrices: float32 [N, rows, columns]; so is the result. iterations: 1 at least. It is the
    Newton-Schulz iteration. Each of its matrices is a polynomial in the first one's square, times
    the first one. So only squares are iterated, in float32, and two large products are left, which
    are computed in `dtype`.
    """
    a, b, c = COEFFICIENTS
    # No singular value may be larger than 1 at the beginning, and none is larger than this norm.
    norms = torch.linalg.matrix_norm(matrices, keepdim=True).clamp(min=1e-7)
    tall = matrices.shape[1] > matrices.shape[2]
    values = (matrices / norms).to(dtype)
    values = values.mT if tall else values
    square = torch.bmm(values, values.mT).float()
    first = a * torch.eye(square.shape[-1], device=square.device)

    def polynomial(square: Tensor) -> Tensor:
        return torch.baddbmm(torch.add(first, square, alpha=b), square, square, alpha=c)

    product = factor = polynomial(square)
    for _ in range(iterations - 1):
        square = torch.bmm(torch.bmm(factor, square), factor)
        factor = polynomial(square)
        product = torch.bmm(factor, product)
    result = torch.bmm(product.to(dtype), values)
    return (result.mT if tall else result).float()
