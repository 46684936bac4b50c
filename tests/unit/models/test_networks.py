"""The networks: the book's, number for number, airbench's, the wide one and the small one."""

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from imagepipe.models.networks import create_model, passing_convolution
from imagepipe.models.wide_resnet import WideBlock
from training_builders import complete_recipe


class BookResidual(nn.Module):
    """`d2l.Residual`, written down from section 8.6 of the book."""

    def __init__(
        self, in_channels: int, channels: int, use_1x1conv: bool = False, strides: int = 1
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, kernel_size=3, padding=1, stride=strides)
        self.conv2 = nn.Conv2d(channels, channels, kernel_size=3, padding=1)
        self.conv3 = None
        if use_1x1conv:
            self.conv3 = nn.Conv2d(in_channels, channels, kernel_size=1, stride=strides)
        self.bn1 = nn.BatchNorm2d(channels)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        if self.conv3:
            x = self.conv3(x)
        return F.relu(y + x)


def book_resnet18(num_classes: int) -> nn.Sequential:
    """`d2l.resnet18`, written down from section 13.13 of the book."""

    def block(in_channels: int, channels: int, first_block: bool = False) -> nn.Sequential:
        if first_block:
            first = BookResidual(in_channels, channels)
        else:
            first = BookResidual(in_channels, channels, use_1x1conv=True, strides=2)
        return nn.Sequential(first, BookResidual(channels, channels))

    return nn.Sequential(
        nn.Conv2d(3, 64, kernel_size=3, stride=1, padding=1),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        block(64, 64, first_block=True),
        block(64, 128),
        block(128, 256),
        block(256, 512),
        nn.AdaptiveAvgPool2d((1, 1)),
        nn.Flatten(),
        nn.Linear(512, num_classes),
    )


@pytest.fixture(scope="module")
def ours() -> nn.Module:
    torch.manual_seed(3)
    return create_model({"name": "d2l_resnet18"}, num_classes=10)


@pytest.fixture(scope="module")
def books() -> nn.Module:
    torch.manual_seed(3)
    return book_resnet18(num_classes=10)


def test_d2l_resnet18_has_11_176_970_parameters(ours: nn.Module) -> None:
    assert sum(parameter.numel() for parameter in ours.parameters()) == 11_176_970


def test_d2l_resnet18_starts_from_the_same_weights_as_the_books(
    ours: nn.Module, books: nn.Module
) -> None:
    pairs = zip(ours.state_dict().values(), books.state_dict().values(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def test_d2l_resnet18_computes_what_the_books_does(ours: nn.Module, books: nn.Module) -> None:
    weights = zip(books.state_dict(), ours.state_dict().values(), strict=True)
    books.load_state_dict({name: weight.clone() for name, weight in weights})
    images = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for model in (ours, books):
            model.train()
        torch.testing.assert_close(ours(images), books(images), rtol=1e-4, atol=1e-4)
        for model in (ours, books):
            model.eval()
        torch.testing.assert_close(ours(images), books(images), rtol=1e-4, atol=1e-4)


def test_d2l_resnet18_does_without_those_gradients_of_the_books_that_are_zero() -> None:
    models = [book_resnet18(num_classes=10), create_model({"name": "d2l_resnet18"}, num_classes=10)]
    weights = [tensor.clone() for tensor in models[0].double().state_dict().values()]
    models[1].double().load_state_dict(dict(zip(models[1].state_dict(), weights, strict=True)))
    images = torch.randn(8, 3, 16, 16, dtype=torch.float64)
    for model in models:
        F.cross_entropy(model(images), torch.arange(8)).backward()
    untrained = 0
    for books, ours in zip(*(model.parameters() for model in models), strict=True):
        assert books.grad is not None
        if ours.requires_grad:
            torch.testing.assert_close(ours.grad, books.grad)
            assert books.grad.abs().max() > 1e-6
        else:
            untrained += 1
            assert books.grad.abs().max() < 1e-12
    assert untrained == 1 + 2 * 8


@pytest.mark.parametrize(("size", "classes"), [(32, 10), (33, 2), (7, 37), (1, 3)])
def test_small_cnn_takes_images_of_any_size_and_any_number_of_classes(
    size: int, classes: int
) -> None:
    model = create_model({"name": "small_cnn", "width": 4}, classes).eval()
    assert model(torch.randn(2, 3, size, size)).shape == (2, classes)


def test_small_cnn_has_width_times_1_2_and_4_channels_in_pairs_of_convolutions() -> None:
    model = create_model({"name": "small_cnn", "width": 5}, 10)
    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    assert [module.out_channels for module in convolutions] == [5, 5, 10, 10, 20, 20]


def airbench(classes: int = 10, **options: object) -> nn.Module:
    torch.manual_seed(0)
    return create_model(complete_recipe(model={"name": "airbench", **options})["model"], classes)


def test_a_new_convolution_passes_its_input_through() -> None:
    convolution = passing_convolution(3, 5)
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


def wide_resnet(classes: int = 10, **options: object) -> nn.Module:
    torch.manual_seed(0)
    model = complete_recipe(model={"name": "wide_resnet", **options})["model"]
    return create_model(model, classes)


@pytest.mark.parametrize(
    ("depth", "widening_factor", "millions"),
    [(40, 1, 0.6), (40, 2, 2.2), (16, 8, 11.0), (28, 10, 36.5)],
)
def test_wide_resnet_has_as_many_parameters_as_table_5_of_the_paper_says(
    depth: int, widening_factor: int, millions: float
) -> None:
    with torch.device("meta"):
        model = wide_resnet(depth=depth, widening_factor=widening_factor)
    assert round(sum(p.numel() for p in model.parameters()) / 1e6, 1) == millions


@pytest.mark.parametrize(("size", "classes"), [(32, 10), (33, 2), (7, 37)])
def test_wide_resnet_takes_images_of_any_size_and_any_number_of_classes(
    size: int, classes: int
) -> None:
    model = wide_resnet(classes, depth=10, widening_factor=1).eval()
    assert model(torch.randn(2, 3, size, size)).shape == (2, classes)


def test_wide_resnet_halves_the_image_twice_and_widens_it() -> None:
    model = wide_resnet(depth=16, widening_factor=2)
    assert model.blocks(model.stem(torch.randn(1, 3, 32, 32))).shape == (1, 128, 8, 8)


def test_a_block_of_wide_resnet_passes_its_input_by() -> None:
    """Without anything from the convolutions, what comes in is what goes out."""
    block = WideBlock(4, 4, stride=1)
    nn.init.zeros_(block.conv2.weight)
    images = torch.randn(2, 4, 8, 8)
    assert torch.equal(block(images), images)
