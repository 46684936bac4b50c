"""The pretrained weights that torchvision and timm offer, as the libraries themselves say."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from imagepipe.config.weights import Interpolation, WeightsRequest
from imagepipe.sources.network_library import import_library

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# Given weights, torchvision makes these networks change inputs that are normalized by ImageNet's
# mean and std to those normalized by 0.5 and 0.5. Without that change, they take the latter.
NORMALIZED_BY_HALF = ("googlenet", "inception_v3")


@dataclass(frozen=True)
class Preprocessing:
    """What a network expects of images; the fields are those of `WeightsRecord`."""

    mean: Sequence[float] = IMAGENET_MEAN
    std: Sequence[float] = IMAGENET_STD
    image_size: Sequence[int] = (224, 224)
    interpolation: Interpolation = "bilinear"


@dataclass(frozen=True)
class LibraryWeights:
    """A library's own weights for a network.

    They are in a repository on the Hugging Face Hub (`hub`: its name and the revision), or at
    `url`, or both. `name` is the library's name for them.
    """

    hub: tuple[str, str] | None
    url: str | None
    name: str | None
    license: str | None
    preprocessing: Preprocessing


def find_library_weights(request: WeightsRequest) -> LibraryWeights | None:
    """Return the weights that a library takes for a network by default, or None.

    Raises `UserError` if the library is not installed, or does not have the network.
    """
    module = import_library(request.package, request.architecture)
    find = weights_of_timm if request.package == "timm" else weights_of_torchvision
    return find(module, request.architecture)


def weights_of_timm(timm: Any, architecture: str) -> LibraryWeights | None:
    config = timm.models.get_pretrained_cfg(architecture)
    if config is None or not (config.hf_hub_id or config.url):
        return None
    repository, _, revision = (config.hf_hub_id or "").partition("@")
    # Other kinds, such as "random", are of networks for which both suit.
    interpolation: Interpolation = "bilinear" if config.interpolation == "bilinear" else "bicubic"
    return LibraryWeights(
        hub=(repository, revision or "main") if repository else None,
        url=config.url,
        name=config.tag or None,
        license=config.license,
        preprocessing=Preprocessing(config.mean, config.std, config.input_size[1:], interpolation),
    )


def weights_of_torchvision(torchvision: Any, architecture: str) -> LibraryWeights | None:
    weights = getattr(torchvision.models.get_model_weights(architecture), "DEFAULT", None)
    if weights is None:
        return None
    transforms = weights.transforms()
    mean, std = transforms.mean, transforms.std
    if architecture in NORMALIZED_BY_HALF:
        mean = std = (0.5, 0.5, 0.5)
    height, width = 2 * list(transforms.crop_size)[:1]
    is_bilinear = transforms.interpolation.value == "bilinear"
    return LibraryWeights(
        hub=None,
        url=weights.url,
        name=weights.name,
        license=weights.meta.get("license"),
        preprocessing=Preprocessing(
            mean, std, (height, width), "bilinear" if is_bilinear else "bicubic"
        ),
    )


def digits_in(url: str) -> str:
    """Return the first digits of a file's SHA-256, which PyTorch's libraries put into its name."""
    found = re.search(r"-([0-9a-f]{8,64})\.[^/]*$", url)
    return found[1] if found else ""
