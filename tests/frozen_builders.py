"""Pretrained weights of a tiny network, and features of a frozen one."""

from pathlib import Path

import numpy as np
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from imagepipe.config.recipe import FrozenNetwork, Recipe
from imagepipe.config.weights import WeightsRecord
from imagepipe.files import write_text
from imagepipe.training.state import TrainingData

TINY = "test_efficientnet"
MEAN, STD = [0.4, 0.5, 0.6], [0.2, 0.25, 0.3]


def library_network(architecture: str = TINY, library: str = "timm") -> nn.Module:
    """Return a network of a library with random weights, always the same, and batch statistics."""
    torch.manual_seed(1)
    if library == "timm":
        network = timm.create_model(architecture, num_classes=7)
    else:
        network = torchvision.models.get_model(architecture, num_classes=7)
    network.train()
    with torch.no_grad():
        network(torch.randn(4, 3, 32, 32))
    return network.eval()


def write_weights(
    folder: Path, architecture: str = TINY, library: str = "timm"
) -> tuple[Path, Path]:
    """Write the weights of `library_network` as rule `weights` does, and their record."""
    weights, record = folder / "weights.safetensors", folder / "weights.json"
    save_file(library_network(architecture, library).state_dict(), weights)
    about = WeightsRecord(
        package=library,
        architecture=architecture,
        package_version="1",
        origin="random",
        source_sha256="0",
        sha256="0",
        pretrained_on=None,
        license=None,
        mean=MEAN,
        std=STD,
        image_size=[32, 32],
        interpolation="bicubic",
        head_classes=7,
    )
    write_text(record, about.model_dump_json())
    return weights, record


def frozen(head: str, architecture: str = TINY, **options: object) -> Recipe:
    """Return a recipe for a head on a tiny network."""
    on = {"name": "timm", "architecture": architecture, "flip": options.pop("flip", False)}
    others = options.pop("recipe", {})
    assert isinstance(others, dict)
    return Recipe.model_validate({"model": {"name": head, "on": on, **options}, **others})


def tiny_network(
    *, flip: bool = False, library: str = "timm", architecture: str = TINY
) -> FrozenNetwork:
    return FrozenNetwork.model_validate(
        {"name": library, "architecture": architecture, "flip": flip}
    )


def feature_data(
    train_images: int = 60, valid_images: int = 15, *, classes: int = 3, several: bool = False
) -> tuple[TrainingData, np.ndarray]:
    """Return images without content, and features float32 [N, 16] that tell their labels."""
    rng = np.random.default_rng(0)
    count = train_images + valid_images
    centers = rng.normal(size=(classes, 16))
    if several:
        labels = (rng.random((count, classes)) < 0.4).astype(np.uint8)
        features = labels @ centers
    else:
        labels = np.arange(count) % classes
        features = centers[labels]
    # On scales of their own, as those of networks are; one says nothing.
    scales = np.append(10.0 ** rng.uniform(-2, 2, 15), 0)
    features = (features + rng.normal(size=features.shape)) * scales + 3 * scales
    rows = np.arange(count)
    images = np.zeros((count, 8, 8, 3), np.uint8)
    data = TrainingData(images, labels, rows[:train_images], rows[train_images:], classes)
    return data, features.astype(np.float32)
