"""Convolution and batch normalization as one convolution, where the statistics are fixed.

With the statistics μ and σ² of batch normalization fixed, γ · (w ∗ x + b − μ) / √(σ² + ε) + β is a
convolution with the filters w · s and the bias (b − μ) · s + β, for s = γ / √(σ² + ε). That saves
passes over the largest tensors of a network, in both directions.
"""

import math
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

# Of the largest logit. TF32 has three digits.
TOLERANCE = 1e-2

Pair = tuple[nn.Conv2d, nn.BatchNorm2d]


@torch.no_grad()
def fold_frozen_batch_norm(model: nn.Module, example: Tensor) -> int:
    """Make pairs of a convolution and a batch normalization one convolution; return how many.

    example: float [N, 3, H, W], a batch of the images' size on the model's device; its values do
    not matter. A pair computes as before whenever its batch normalization is in training mode.
    Parameters, statistics and their names stay, gradients reach them, and the model can still be
    copied. The filters are computed in every call, which takes about a hundredth of its time.

    Nothing is folded if logits were then different.
    """
    # Zeros would not tell whether borders are right.
    example = (
        torch.arange(example.numel(), device=example.device).sin().to(example).view_as(example)
    )
    with _evaluation_mode(model), torch.autocast(example.device.type, enabled=False):
        before, pairs = _find_pairs(model, example)
        for convolution, norm in pairs:
            # Not their class: a copy of a partial refers to the copies of its arguments.
            vars(convolution)["forward"] = partial(_folded_convolution, convolution, norm)
            vars(norm)["forward"] = partial(_after_folded_norm, norm)
        after = model(example)
    if (after - before).abs().max() <= TOLERANCE * before.abs().max():
        return len(pairs)
    for module in (module for pair in pairs for module in pair):
        del vars(module)["forward"]
    return 0


def _folded_convolution(convolution: nn.Conv2d, norm: nn.BatchNorm2d, x: Tensor) -> Tensor:
    if norm.training:
        return type(convolution).forward(convolution, x)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = torch.rsqrt(norm.running_var + norm.eps)
    if norm.weight is not None:
        scale = scale * norm.weight
    shift = -norm.running_mean if convolution.bias is None else convolution.bias - norm.running_mean
    bias = shift * scale
    if norm.bias is not None:
        bias = bias + norm.bias
    weight = convolution.weight * scale[:, None, None, None]
    padding: str | tuple[int, ...] = convolution.padding
    if type(convolution) is not nn.Conv2d:
        x, weight, padding = _same_padding(x, weight, convolution)
    return F.conv2d(
        x, weight, bias, convolution.stride, padding, convolution.dilation, convolution.groups
    )


def _same_padding(
    x: Tensor, weight: Tensor, convolution: nn.Conv2d
) -> tuple[Tensor, Tensor, tuple[int, int]]:
    """Return images, filters and padding for a convolution of timm that pads as TensorFlow does.

    Such a padding may be larger by 1 at the end. Copying the images into a padded tensor takes
    time. For predictions on a CPU, the filters get zeros at their beginning instead.
    """
    rows, columns = (
        max(0, (math.ceil(size / step) - 1) * step + gap * (taps - 1) + 1 - size)
        for size, step, gap, taps in zip(
            x.shape[2:], convolution.stride, convolution.dilation, weight.shape[2:], strict=True
        )
    )
    top, left = rows // 2, columns // 2
    bottom, right = rows - top, columns - left
    if (left, top) == (right, bottom):
        return x, weight, (top, left)
    if x.device.type != "cpu" or torch.is_grad_enabled() or convolution.dilation != (1, 1):
        return F.pad(x, (left, right, top, bottom)), weight, (0, 0)
    return x, F.pad(weight, (right - left, 0, bottom - top, 0)), (bottom, right)


def _after_folded_norm(norm: nn.BatchNorm2d, x: Tensor) -> Tensor:
    if norm.training:
        return type(norm).forward(norm, x)
    if type(norm) is not nn.BatchNorm2d:
        x = norm.act(norm.drop(x))  # type: ignore[operator]
    return x


def _find_pairs(model: nn.Module, example: Tensor) -> tuple[Tensor, list[Pair]]:
    """Return the model's logits, and the pairs that can be folded.

    Whatever the one module puts out is read by the other one alone, which reads nothing else.
    """
    calls: Counter[nn.Module] = Counter()
    calls_of_pair: Counter[Pair] = Counter()
    convolution_of: dict[int, nn.Conv2d] = {}
    reads = _CountReads()

    def after_convolution(module: nn.Conv2d, _: object, output: Tensor) -> None:
        calls[module] += 1
        convolution_of[id(output)] = module
        reads.watch(output)

    def before_norm(module: nn.BatchNorm2d, inputs: tuple[Tensor]) -> None:
        calls[module] += 1
        if id(inputs[0]) in reads.watched:
            calls_of_pair[convolution_of[id(inputs[0])], module] += 1

    handles = []
    for module in model.modules():
        kind = type(module)
        if kind in (nn.Conv2d, _timm_layer("Conv2dSame")):
            if module.padding_mode == "zeros":
                handles.append(module.register_forward_hook(after_convolution))
        elif kind in (nn.BatchNorm2d, _timm_layer("BatchNormAct2d")) and module.track_running_stats:
            handles.append(module.register_forward_pre_hook(before_norm))
    try:
        with reads:
            logits = model(example)
    finally:
        for handle in handles:
            handle.remove()
    shared = {convolution_of[tensor] for tensor in reads.watched if reads.count[tensor] > 1}
    return logits, [
        (convolution, norm)
        for (convolution, norm), together in calls_of_pair.items()
        if calls[convolution] == calls[norm] == together and convolution not in shared
    ]


class _CountReads(TorchFunctionMode):
    """Count the functions that make tensors of a watched tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.count: Counter[int] = Counter()
        # They live until all is counted, so that no other tensor gets their id.
        self.watched: dict[int, Tensor] = {}

    def watch(self, tensor: Tensor) -> None:
        self.watched[id(tensor)] = tensor

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        # Not the size, say.
        if any(True for _ in _tensors(result)):
            read = {id(tensor) for tensor in _tensors((args, tuple(kwargs.values())))}
            self.count.update(read & self.watched.keys())
        return result


def _tensors(value: object) -> Iterator[Tensor]:
    """Yield the tensors in nested lists and tuples."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)


@contextmanager
def _evaluation_mode(model: nn.Module) -> Iterator[None]:
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def _timm_layer(name: str) -> Any:
    """Return a layer of timm, or None if timm has not been imported."""
    return getattr(sys.modules.get("timm.layers"), name, None)
