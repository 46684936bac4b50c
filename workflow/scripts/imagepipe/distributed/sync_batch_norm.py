"""Batch normalisation by the statistics of all processes' batches together."""

import torch
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce


def synchronise_norms(model: nn.Module) -> nn.Module:
    """Return a model whose batch normalisations take all processes' images for one batch.

    On CUDA they become torch.nn.SyncBatchNorm, which does not exist for the CPU. Names, weights and
    statistics stay.
    """
    if next(model.parameters()).is_cuda:
        converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
        return converted
    for parent in list(model.modules()):
        for name, module in parent.named_children():
            if isinstance(module, nn.BatchNorm2d):
                setattr(parent, name, SynchronisedBatchNorm(module))
    return model


class SynchronisedBatchNorm(nn.BatchNorm2d):
    """A torch.nn.BatchNorm2d that is trained by several processes, on the CPU.

    It takes over the weights and the statistics of `norm`. The mean and the variance are computed
    one after the other, so that large means cost no digits.
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
        here = values.new_tensor([values.numel() // self.num_features])
        # The number goes along with the sums: each message costs more than what is in it.
        totals = _summed(torch.cat((values.sum(dim=(0, 2, 3)), here)))
        count = totals[-1].detach()
        mean = totals[:-1] / count
        centred = values - mean[:, None, None]
        variance = _summed(centred.square().sum(dim=(0, 2, 3))) / count
        self._remember(mean.detach(), variance.detach(), count)
        result: Tensor = centred * (variance + self.eps).rsqrt()[:, None, None]
        if self.affine:
            result = result * self.weight[:, None, None] + self.bias[:, None, None]
        return result.to(input.dtype)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked += 1
        part = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, part)
        self.running_var.lerp_(variance * count / (count - 1).clamp(min=1), part)


def _summed(tensor: Tensor) -> Tensor:
    """Return the sum over all processes, through which gradients go back."""
    result: Tensor = all_reduce(tensor)  # type: ignore[no-untyped-call]
    return result
