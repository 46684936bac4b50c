"""The book's ResNet-18, number for number."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from imagepipe.config.recipe import D2LResNet18
from imagepipe.models.create import create_model


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
    return create_model(D2LResNet18(), num_classes=10)


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
    models = [book_resnet18(num_classes=10), create_model(D2LResNet18(), num_classes=10)]
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
