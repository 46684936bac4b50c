"""airbench's network, and its whitening of the images."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from imagepipe.config.recipe import Airbench
from imagepipe.models.airbench import identity_convolution, whiten
from imagepipe.models.create import InitializedFromImages, create_model

EPSILON = 5e-4


def airbench(classes: int = 10, **options: Any) -> nn.Module:
    torch.manual_seed(0)
    return create_model(Airbench(**options), classes)


def test_a_new_convolution_copies_its_input() -> None:
    convolution = identity_convolution(3, 5)
    images = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(convolution(images)[:, :3], images)
    assert not torch.allclose(convolution(images)[:, 3], images[:, 0], atol=0.1)


@pytest.mark.parametrize(("convolutions", "parameters"), [(2, 1_972_792), (3, 3_190_456)])
def test_airbench_has_as_many_parameters_as_jordans(convolutions: int, parameters: int) -> None:
    """Whitening 12·24 + 24, convolutions 9·in·out, norms 2 a channel, the last layer 2,560."""
    widths, inputs = (64, 256, 256), (24, 64, 256)
    norms = sum(2 * width * convolutions for width in widths)
    filters = sum(
        9 * before * after + 9 * after * after * (convolutions - 1)
        for before, after in zip(inputs, widths, strict=True)
    )
    assert 12 * 24 + 24 + filters + norms + 2_560 == parameters
    model = airbench(convolutions=convolutions)
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters


@pytest.mark.parametrize(("size", "classes"), [(32, 10), (20, 2), (9, 3), (65, 37)])
def test_airbench_takes_images_of_many_sizes_and_any_number_of_classes(
    size: int, classes: int
) -> None:
    model = airbench(classes, widths=[4, 6, 8]).eval()
    assert model(torch.randn(2, 3, size, size)).shape == (2, classes)


def test_airbench_trains_no_scales_and_no_whitening_weights() -> None:
    fixed = {name for name, p in airbench().named_parameters() if not p.requires_grad}
    norms = {f"groups.{group}.norms.{norm}.weight" for group in range(3) for norm in range(2)}
    assert fixed == {"whitening.weight"} | norms


def test_airbench_has_a_shortcut_with_three_convolutions() -> None:
    """Without anything from the last convolution, what the first gives still comes through."""
    group = airbench(convolutions=3).eval().get_submodule("groups.0")
    for index in (1, 2):
        nn.init.zeros_(group.get_parameter(f"convolutions.{index}.weight"))
    images = torch.randn(2, 24, 8, 8)
    first = F.gelu(F.max_pool2d(group.get_submodule("convolutions.0")(images), 2))
    torch.testing.assert_close(group(images), F.gelu(first), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("name", "function"), [("gelu", F.gelu), ("silu", F.silu)])
def test_the_activation_of_airbench_is_that_of_its_groups(
    name: str, function: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    model = airbench(activation=name, widths=[4, 6, 8]).eval()
    images = torch.randn(2, 24, 8, 8)
    group = model.get_submodule("groups.0")
    first = function(F.max_pool2d(group.get_submodule("convolutions.0")(images), 2))
    expected = function(group.get_submodule("convolutions.1")(first))
    torch.testing.assert_close(group(images), expected, rtol=1e-3, atol=1e-4)


def test_airbench_can_add_the_mean_of_a_channel_to_its_largest_value() -> None:
    images, planes = torch.randn(2, 3, 32, 32), []
    models = {pooling: airbench(pooling=pooling).eval() for pooling in ("max", "max_plus_mean")}
    groups = models["max"].get_submodule("groups")
    groups.register_forward_hook(lambda _, __, output: planes.append(output))
    logits = {pooling: model(images) for pooling, model in models.items()}
    classifier = models["max"].get_submodule("classifier")
    of_means = classifier(planes[0].mean(dim=(2, 3))) / 256
    assert of_means.abs().min() > 0
    torch.testing.assert_close(logits["max_plus_mean"], logits["max"] + of_means)


def test_airbenchs_logits_begin_small() -> None:
    """They are divided by the number of features, so that no class is sure of itself at first."""
    logits = airbench()(torch.randn(16, 3, 32, 32))
    assert 0.01 < logits.abs().mean() < 1


@pytest.mark.parametrize("epsilon", [5e-4, 0.05])
def test_airbench_whitens_images_by_its_epsilon(epsilon: float) -> None:
    images = torch.randn(20, 3, 9, 9, generator=torch.Generator().manual_seed(0))
    model, layer = airbench(whitening_epsilon=epsilon), nn.Conv2d(3, 24, kernel_size=2)
    assert isinstance(model, InitializedFromImages)
    assert model.num_images_for_initialization == 5_000
    model.initialize_from_images([images])
    whiten(layer, [images], epsilon)
    weight = model.get_parameter("whitening.weight")
    assert torch.equal(weight, layer.weight)
    assert not weight.requires_grad


def smooth_images(count: int) -> torch.Tensor:
    """Return images whose neighboring pixels and whose channels are alike, as in photos."""
    noise = torch.randn(count, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    large = nn.functional.interpolate(noise, size=(16, 16), mode="bilinear")
    colors = torch.tensor([1.0, 0.9, 0.5])[:, None, None]
    own = torch.randn(count, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    return large * colors + 0.2 * own


def test_whitening_of_grey_images_gives_no_constant_output() -> None:
    """Batch normalization would divide it by almost nothing, and the training would diverge."""
    layer = nn.Conv2d(3, 24, kernel_size=2)
    grey = torch.randn(20, 1, 16, 16).expand(-1, 3, -1, -1)
    whiten(layer, [grey], EPSILON)
    with torch.no_grad():
        outputs = F.conv2d(grey, layer.weight)
    assert outputs.std(dim=(0, 2, 3)).min() > 0.1


def whitened(images: torch.Tensor, epsilon: float = EPSILON) -> torch.Tensor:
    """Return what a whitening convolution without bias makes of images, as rows of 24 numbers."""
    convolution = nn.Conv2d(3, 24, kernel_size=2)
    nn.init.zeros_(convolution.bias)
    whiten(convolution, images.split(500), epsilon)
    with torch.no_grad():
        return convolution(images).permute(0, 2, 3, 1).reshape(-1, 24)


@pytest.mark.parametrize("epsilon", [EPSILON, 0.05])
def test_what_comes_out_is_uncorrelated_and_of_size_one(epsilon: float) -> None:
    images = smooth_images(1_100)
    patches = nn.functional.unfold(images, 2).transpose(1, 2).reshape(-1, 12)
    moment_before = patches.T @ patches / len(patches)
    outputs = whitened(images, epsilon)[:, :12]
    moment = outputs.T @ outputs / len(outputs)
    diagonal = moment.diagonal()
    assert (moment_before - torch.diag(moment_before.diagonal())).abs().max() > 0.3
    assert (moment - torch.diag(diagonal)).abs().max() < 0.01
    # λ / (λ + ε): less than one where an eigenvalue is as small as ε.
    values = torch.linalg.eigvalsh(moment_before)
    torch.testing.assert_close(diagonal, values / (values + epsilon), rtol=1e-2, atol=1e-2)


def test_the_second_half_is_the_negative_of_the_first() -> None:
    outputs = whitened(smooth_images(10))
    torch.testing.assert_close(outputs[:, 12:], -outputs[:, :12])
