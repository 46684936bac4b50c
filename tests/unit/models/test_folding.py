"""Convolution and batch normalization as one convolution."""

import copy
from collections.abc import Callable

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

from imagepipe.models.folding import fold_frozen_batch_norm


def images(number: int = 2, size: int = 32) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randn(number, 3, size, size, generator=generator, dtype=torch.float64)
    return drawn.contiguous(memory_format=torch.channels_last)


def prepared(model: nn.Module) -> nn.Module:
    """Return a network of float64, in evaluation mode, with statistics as after a training."""
    generator = torch.Generator().manual_seed(1)

    def draw(tensor: Tensor, low: float, high: float) -> None:
        tensor.data.uniform_(low, high, generator=generator)

    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            draw(module.running_mean, -0.3, 0.3)
            draw(module.running_var, 0.5, 1.5)
            draw(module.weight, 0.5, 1.5)
            draw(module.bias, -0.3, 0.3)
    return model.double().to(memory_format=torch.channels_last).eval()


def gradients(model: nn.Module, batch: Tensor) -> dict[str, Tensor]:
    """Return the gradients of a sum of squares: those of the parameters by name, and "images"."""
    batch = batch.clone().requires_grad_()
    model(batch).square().sum().backward()
    found = {name: parameter.grad for name, parameter in model.named_parameters()} | {
        "images": batch.grad
    }
    return {name: gradient for name, gradient in found.items() if gradient is not None}


class Tiny(nn.Module):
    """A convolution and a batch normalization; what a network does with the first one's output."""

    def __init__(self, use: Callable[[Tensor], Tensor] | None = None) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 3, padding=1, groups=1)
        self.norm = nn.BatchNorm2d(4)
        self.use = use

    def forward(self, x: Tensor) -> Tensor:
        y = self.convolution(x)
        z: Tensor = self.norm(y)
        if self.use is not None:
            z = z + self.use(y)
        return F.relu(z, inplace=True).mean(dim=(2, 3))


@pytest.mark.parametrize(
    ("create", "folded"),
    [
        (Tiny, 1),
        (lambda: timm.create_model("test_efficientnet", num_classes=5), 13),
        (lambda: timm.create_model("tf_mobilenetv3_small_minimal_100", num_classes=5), 34),
        (lambda: timm.create_model("test_resnet", num_classes=5), 15),
        (lambda: nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 1), nn.Flatten()), 0),
        (lambda: torchvision.models.mobilenet_v3_small(num_classes=5), 34),
    ],
    ids=["tiny", "efficientnet", "padding same", "resnet", "norm first", "mobilenet"],
)
def test_folded_network_has_the_same_logits_and_gradients(
    create: Callable[[], nn.Module], folded: int
) -> None:
    model, batch = prepared(create()), images()
    network = copy.deepcopy(model)
    assert fold_frozen_batch_norm(network, batch[:1]) == folded
    assert network.state_dict().keys() == model.state_dict().keys()
    torch.testing.assert_close(network(batch), model(batch))
    with torch.inference_mode():
        for other in (batch, images(size=35)):
            torch.testing.assert_close(network(other), model(other))
    # The parameters of a copy are its own.
    network = copy.deepcopy(network)
    torch.testing.assert_close(gradients(network, batch), gradients(model, batch))


def test_folded_network_follows_its_parameters() -> None:
    model, batch = prepared(Tiny()), images()
    fold_frozen_batch_norm(model, batch)
    other = prepared(Tiny())
    model.load_state_dict(other.state_dict())
    torch.testing.assert_close(model(batch), other(batch))


def test_batch_norm_in_training_mode_computes_as_ever() -> None:
    model, batch = prepared(timm.create_model("test_efficientnet", num_classes=5)).train(), images()
    network = copy.deepcopy(model)
    assert fold_frozen_batch_norm(network, batch) == 13
    assert network.training
    torch.testing.assert_close(network.state_dict(), model.state_dict())
    assert torch.equal(network(batch), model(batch))
    torch.testing.assert_close(network.state_dict(), model.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize("size", [32, 33])
def test_autocast_computes_folded_networks_in_bf16(size: int) -> None:
    model = prepared(timm.create_model("test_efficientnet", num_classes=5)).float()
    batch = images(size=size).float()
    expected = model(batch)
    fold_frozen_batch_norm(model, batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model(batch)
    assert logits.dtype == torch.bfloat16
    torch.testing.assert_close(
        logits.float(), expected, rtol=0.05, atol=0.05 * expected.abs().max().item()
    )


@pytest.mark.parametrize(
    "use", [torch.sigmoid, lambda y: y[:, :1], lambda y: torch.stack([y, y]).sum(dim=0)]
)
def test_output_that_others_read_is_not_folded(use: Callable[[Tensor], Tensor]) -> None:
    model, batch = prepared(Tiny(use)), images()
    before = model(batch)
    assert fold_frozen_batch_norm(model, batch) == 0
    assert torch.equal(model(batch), before)


def test_reading_the_size_of_an_output_does_not_matter() -> None:
    model = prepared(Tiny(lambda y: torch.full((1,), y.shape[1] + y.dim(), dtype=y.dtype)))
    assert fold_frozen_batch_norm(model, images()) == 1


@pytest.mark.parametrize(
    ("layers_before", "folded"),
    [
        (lambda tiny: [tiny.convolution, tiny.norm], 1),
        (lambda _: [nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)], 2),
        (lambda tiny: [nn.Conv2d(3, 4, 1), tiny.norm], 0),
        (lambda tiny: [tiny.convolution], 0),
    ],
    ids=["both twice", "others", "norm twice", "convolution twice"],
)
def test_layers_that_are_called_twice_are_folded_only_together(
    layers_before: Callable[[Tiny], list[nn.Module]], folded: int
) -> None:
    tiny = Tiny()
    model = prepared(nn.Sequential(*layers_before(tiny), nn.Conv2d(4, 3, 1), tiny))
    before = model(images())
    assert fold_frozen_batch_norm(model, images()) == folded
    torch.testing.assert_close(model(images()), before)


def test_other_logits_undo_the_folding(monkeypatch: pytest.MonkeyPatch) -> None:
    model, batch = prepared(Tiny()), images()
    before = model(batch)
    monkeypatch.setattr("imagepipe.models.folding._after_folded_norm", lambda _, x: x + 1)
    assert fold_frozen_batch_norm(model, batch) == 0
    assert torch.equal(model(batch), before)
