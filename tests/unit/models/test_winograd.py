"""The fast convolution against PyTorch's own, in float64."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from imagepipe.models.layers import Conv3x3
from imagepipe.models.winograd import MIN_CHANNELS, is_faster


def layer(channels: int = MIN_CHANNELS, **options: bool) -> Conv3x3:
    torch.manual_seed(0)
    return Conv3x3(MIN_CHANNELS, channels, **options).to(memory_format=torch.channels_last)


def images(count: int, height: int, width: int) -> Tensor:
    torch.manual_seed(1)
    result = torch.randn(count, MIN_CHANNELS, height, width)
    return result.to(memory_format=torch.channels_last).requires_grad_()


def difference(result: Tensor, expected: Tensor) -> float:
    return float((result - expected).detach().norm() / expected.detach().norm())


def gradients(result: Tensor, *of: Tensor) -> tuple[Tensor, ...]:
    torch.manual_seed(2)
    return torch.autograd.grad(result, of, torch.randn(result.shape).to(result))


@pytest.mark.parametrize("count", [32, 300])
@pytest.mark.parametrize(
    ("height", "width"), [(1, 1), (2, 2), (3, 3), (4, 4), (5, 7), (7, 7), (8, 8), (9, 12), (6, 2)]
)
def test_results_and_gradients_are_those_of_pytorch(count: int, height: int, width: int) -> None:
    convolution, x = layer(MIN_CHANNELS + 16), images(count, height, width)
    assert is_faster(x, convolution.weight, height, width)
    result = convolution(x)
    weight, bias = convolution.weight, convolution.bias
    assert bias is not None
    expected = F.conv2d(x.double(), weight.double(), bias.double(), padding=1)
    assert difference(result, expected) < 1e-5
    for ours, theirs in zip(
        gradients(result, x, weight, bias), gradients(expected, x, weight, bias), strict=True
    ):
        assert difference(ours, theirs) < 1e-5


@pytest.mark.parametrize("size", [2, 3, 4, 5, 7, 15])
@pytest.mark.parametrize("count", [2, 48])
def test_what_a_pooling_leaves_out_changes_nothing(count: int, size: int) -> None:
    convolution, x = layer(bias=False), images(count, size, size)
    weight = convolution.weight
    result = convolution.forward_and_pool(x)
    expected = F.max_pool2d(F.conv2d(x.double(), weight.double(), padding=1), 2)
    assert difference(result, expected) < 1e-5
    for ours, theirs in zip(
        gradients(result, x, weight), gradients(expected, x, weight), strict=True
    ):
        # Two numbers of a pooling that are nearly the same may change places.
        assert difference(ours, theirs) < 1e-2


def test_it_repeats_bit_for_bit() -> None:
    convolution, x = layer(), images(64, 7, 7)
    first, second = convolution(x), convolution(x)
    assert torch.equal(first, second)
    for one, other in zip(
        gradients(first, x, convolution.weight),
        gradients(second, x, convolution.weight),
        strict=True,
    ):
        assert torch.equal(one, other)


def test_only_the_gradients_that_are_wanted_are_computed() -> None:
    convolution, x = layer(), images(64, 4, 4)
    convolution.weight.requires_grad_(False)
    convolution(x).sum().backward()
    assert x.grad is not None
    assert convolution.weight.grad is None
    convolution.weight.requires_grad_(True)
    convolution(x.detach()).sum().backward()
    assert convolution.weight.grad is not None
    with torch.inference_mode():
        assert not convolution(x).requires_grad


def test_few_tiles_few_channels_and_other_precisions_are_left_to_pytorch() -> None:
    weight = layer().weight
    assert is_faster(images(32, 4, 4), weight, 4, 4)
    assert not is_faster(images(31, 4, 4), weight, 4, 4)
    assert not is_faster(images(32, 4, 4)[:, 1:], weight[:, 1:], 4, 4)
    assert not is_faster(images(32, 4, 4).double(), weight.double(), 4, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not is_faster(images(32, 4, 4), weight, 4, 4)


def test_other_strides_are_those_of_pytorch() -> None:
    torch.manual_seed(0)
    convolution = Conv3x3(MIN_CHANNELS, MIN_CHANNELS, stride=2)
    x = images(64, 4, 4)
    expected = F.conv2d(x, convolution.weight, convolution.bias, stride=2, padding=1)
    assert torch.equal(convolution(x), expected)


def test_names_and_first_weights_are_those_of_a_plain_layer() -> None:
    torch.manual_seed(0)
    plain = torch.nn.Conv2d(MIN_CHANNELS, MIN_CHANNELS, kernel_size=3, padding=1)
    state = layer().state_dict()
    assert state.keys() == plain.state_dict().keys()
    assert all(torch.equal(state[name], value) for name, value in plain.state_dict().items())
