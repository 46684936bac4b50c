"""Heat maps lie on what tells the class, and any network has them."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

from image_builders import CPU, MEAN, STD, model_description, noise
from imagepipe.augmentation.normalize import Normalize
from imagepipe.augmentation.resizing import resize_images
from imagepipe.config import recipe
from imagepipe.evaluation.saliency import class_heat, explain
from imagepipe.models.create import create_model
from imagepipe.models.model_files import save_model

SMALL, LARGE = 32, 96


def squares(count: int, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return images [N, 3, size, size] with a red square, or a blue one, on noise.

    The class is 0 for red and 1 for blue. Also returns where the square is, bool [N, size, size].
    """
    generator = torch.Generator().manual_seed(size)
    images = 0.3 * torch.rand((count, 3, size, size), generator=generator)
    labels = torch.arange(count) % 2
    inside = torch.zeros((count, size, size), dtype=torch.bool)
    side = size // 4
    corners = torch.randint(0, size - side, (count, 2), generator=generator).tolist()
    for image, mask, label, (top, left) in zip(images, inside, labels, corners, strict=True):
        mask[top : top + side, left : left + side] = True
        image[2 * int(label), mask] = 1.0
    return images, labels, inside


@pytest.fixture(scope="module")
def network() -> nn.Module:
    """A network that tells red squares from blue ones, in images of any size."""
    torch.manual_seed(0)
    model = nn.Sequential(
        *(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ReLU()),
        *(nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 2)),
    )
    images, labels, _ = squares(64, SMALL)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(60):
        optimizer.zero_grad()
        F.cross_entropy(model(images), labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    model.eval()
    assert bool((model(images).argmax(dim=1) == labels).all())
    return model


def enlarged(heat: Tensor, size: int) -> Tensor:
    """Return heat [K, h, w] at an image's size."""
    return F.interpolate(heat[None], size=(size, size), mode="bilinear")[0]


@pytest.mark.parametrize(("size", "method"), [(SMALL, "occlusion"), (LARGE, "Grad-CAM")])
def test_heat_is_on_what_tells_the_class(network: nn.Module, size: int, method: str) -> None:
    images, labels, inside = squares(6, size)
    heat, name = class_heat(network, images, labels[:, None])
    assert name == method
    for places, mask in zip(heat, inside, strict=True):
        pixels = enlarged(places, size)[0]
        assert pixels[mask].mean() >= 3 * pixels[~mask].mean()


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_each_class_has_its_own_heat(network: nn.Module, size: int) -> None:
    image = torch.full((3, size, size), 0.15)
    side = size // 4
    for label, left in ((0, side // 2), (1, size - 3 * side // 2)):
        image[2 * label, side : 2 * side, left : left + side] = 1.0
    (heat,), _ = class_heat(network, image[None], torch.tensor([[0, 1]]))
    red, blue = enlarged(heat, size)
    half = size // 2
    assert red[:, :half].mean() >= 3 * red[:, half:].mean()
    assert blue[:, half:].mean() >= 3 * blue[:, :half].mean()


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_the_network_stays_as_it_is(network: nn.Module, size: int) -> None:
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    images, labels, _ = squares(2, size)
    heat, _ = class_heat(network, images, labels[:, None])
    again, _ = class_heat(network, images, labels[:, None])
    assert torch.equal(heat, again)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert not any(module._forward_hooks for module in network.modules())
    network.zero_grad()
    assert all(parameter.grad is None for parameter in network.parameters())


def random_heat(model: nn.Module, height: int, width: int) -> str:
    """Assert that a network gives sensible heat for random images; return the method."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn((2, 3, height, width), generator=generator)
    heat, method = class_heat(model.eval(), images, torch.tensor([[0, 1], [2, 0]]))
    assert heat.shape[:2] == (2, 2)
    assert heat.dtype == torch.float32
    assert heat.isfinite().all()
    assert heat.min() == 0
    largest = heat.amax(dim=(2, 3))
    assert bool(((largest == 0) | (largest == 1)).all())
    return method


@pytest.mark.parametrize(
    "options",
    [
        recipe.D2LResNet18(),
        recipe.Airbench(widths=[8, 16, 16]),
        recipe.Airbench(widths=[8, 16, 16], pooling="max_plus_mean", activation="silu"),
        recipe.WideResNet(depth=10, widening_factor=1),
        recipe.SmallCNN(width=4),
    ],
    ids=lambda options: options.name,
)
def test_own_networks_at_their_smallest_size(options: recipe.Model) -> None:
    model, size = create_model(options, 3), options.min_image_size
    assert random_heat(model, size, size) == "occlusion"
    assert random_heat(model, size + 5, size + 2) == "occlusion"


@pytest.mark.parametrize(
    ("architecture", "height", "width", "method"),
    [
        ("resnet18", 72, 96, "Grad-CAM"),
        ("mobilenet_v3_small", 224, 160, "Grad-CAM"),
        ("efficientnet_b0", 120, 120, "Grad-CAM"),
        ("densenet121", 72, 72, "Grad-CAM"),
        ("convnext_tiny", 96, 72, "Grad-CAM"),
        # Its last map has 5×5 places.
        ("mobilenet_v3_small", 72, 72, "occlusion"),
        ("resnet18", 33, 40, "occlusion"),
    ],
)
def test_networks_of_torchvision(architecture: str, height: int, width: int, method: str) -> None:
    model = create_model(recipe.Torchvision(architecture=architecture, stem="small"), 3)
    assert random_heat(model, height, width) == method


def test_transformers() -> None:
    # Tokens are no map; the shifted windows' output is one, once the channels come first.
    vit = torchvision.models.VisionTransformer(
        image_size=80, patch_size=16, num_layers=2, num_heads=2, hidden_dim=32, mlp_dim=32
    )
    assert random_heat(vit, 80, 80) == "occlusion"
    swin = torchvision.models.SwinTransformer(
        [4, 4], embed_dim=8, depths=[2, 2, 2, 2], num_heads=[1, 2, 2, 4], window_size=[7, 7]
    )
    assert random_heat(swin, 224, 224) == "Grad-CAM"
    assert random_heat(swin, 72, 72) == "occlusion"


def test_channels_last_are_no_map() -> None:
    class ChannelsLast(nn.Module):
        """Ends as timm's Swin does: with [B, h, w, C]."""

        def __init__(self) -> None:
            super().__init__()
            self.patches = nn.Conv2d(3, 16, 8, stride=8)
            self.norm = nn.LayerNorm(16)
            self.head = nn.Linear(16, 3)

        def forward(self, images: Tensor) -> Tensor:
            maps = self.norm(self.patches(images).permute(0, 2, 3, 1))
            logits: Tensor = self.head(maps.mean(dim=(1, 2)))
            return logits

    assert random_heat(ChannelsLast(), 96, 96) == "occlusion"


def test_a_trained_model_as_a_file(tmp_path: Path) -> None:
    options = recipe.SmallCNN(width=4)
    torch.manual_seed(1)
    model = create_model(options, 3).eval()
    description = model_description(options, image_size=[10, 12], test_time_augmentation="flip")
    save_model(tmp_path / "model.safetensors", model, description)
    stored = noise(5)
    np.save(tmp_path / "labelled.npy", stored.numpy())
    names = [("red", None), ("green", "blue")]
    images, heat, method = explain(
        tmp_path / "model.safetensors",
        tmp_path / "labelled.npy",
        [4, 2],
        names,
    )
    resized = resize_images(stored[[4, 2]], [10, 12])
    assert (images == resized.round().to(torch.uint8).numpy()).all()
    inputs = Normalize.from_statistics(MEAN, STD, CPU)(resized.permute(0, 3, 1, 2))
    expected, words = class_heat(model, inputs, torch.tensor([[2, 0], [1, 0]]))
    assert method == words
    torch.testing.assert_close(torch.from_numpy(heat), expected, rtol=1e-4, atol=1e-5)
