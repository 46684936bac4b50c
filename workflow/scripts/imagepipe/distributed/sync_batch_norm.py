"""Batch normalization with the statistics of all processes' batches together."""

import torch
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce

from imagepipe.errors import UserError


def synchronize_batch_norm(model: nn.Module) -> nn.Module:
    """Return a model whose batch normalizations see all processes' images as one batch.

    On CUDA they become torch.nn.SyncBatchNorm, which does not exist for the CPU. Names, weights and
    statistics stay. Raises `UserError` for a network whose batch normalization does more than that,
    such as timm's with an activation: it would lose it.
    """
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d) and type(module) is not nn.BatchNorm2d:
            raise UserError(
                f"model.architecture: several processes cannot train its {type(module).__name__}; "
                "take another network, or one process"
            )
    if next(model.parameters()).is_cuda:
        converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
        return converted
    for parent in list(model.modules()):
        for name, module in parent.named_children():
            if isinstance(module, nn.BatchNorm2d):
                setattr(parent, name, SyncBatchNormOnCPU(module))
    return model


class SyncBatchNormOnCPU(nn.BatchNorm2d):
    """A torch.nn.BatchNorm2d that several processes train on the CPU.

    It takes over the weights and the statistics of `norm`. It computes the mean before the
    variance, so that a large mean costs the variance no digits.
    """

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__(norm.num_features, norm.eps, norm.momentum, norm.affine)
        self.train(norm.training)
        self._parameters.update(norm._parameters)
        self._buffers.update(norm._buffers)

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return super().forward(input)
        values = input.float()
        # The number of values goes along with the sums: a message costs more than its content.
        num_values = values.new_tensor([values.numel() // self.num_features])
        sums = _sum_over_processes(torch.cat((values.sum(dim=(0, 2, 3)), num_values)))
        total = sums[-1].detach()
        mean = sums[:-1] / total
        centered = values - mean[:, None, None]
        variance = _sum_over_processes(centered.square().sum(dim=(0, 2, 3))) / total
        self._update_statistics(mean.detach(), variance.detach(), total)
        result: Tensor = centered * (variance + self.eps).rsqrt()[:, None, None]
        if self.affine:
            result = result * self.weight[:, None, None] + self.bias[:, None, None]
        return result.to(input.dtype)

    @torch.no_grad()
    def _update_statistics(self, mean: Tensor, variance: Tensor, total: Tensor) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked += 1
        weight = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, weight)
        self.running_var.lerp_(variance * total / (total - 1).clamp(min=1), weight)


def _sum_over_processes(tensor: Tensor) -> Tensor:
    """Return the sum over all processes; gradients flow back through it."""
    result: Tensor = all_reduce(tensor)  # type: ignore[no-untyped-call]
    return result
