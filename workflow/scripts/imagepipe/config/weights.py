"""Pretrained weights: which file a recipe asks for, and what is recorded about it."""

import json
import re
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field

from imagepipe.config.options import Options
from imagepipe.config.recipe import (
    FrozenFeatures,
    FrozenNetwork,
    Model,
    Timm,
    Torchvision,
    WeightsFile,
)
from imagepipe.config.runs import short_hash
from imagepipe.errors import UserError, one_line

# The value of `weights` for the library's own.
PRETRAINED = "pretrained"
NAME_DIGITS = 12

Interpolation = Literal["bilinear", "bicubic"]
PerChannel = Annotated[list[float], Field(min_length=3, max_length=3)]
HeightAndWidth = Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=2, max_length=2)]


class WeightsRequest(Options):
    """Which weights a recipe asks for: rule `weights` gets them.

    weights: "pretrained", the path of a file, or the address and SHA-256 of one.
    """

    package: Literal["torchvision", "timm"]
    architecture: str
    weights: WeightsFile | str

    @property
    def files(self) -> list[Path]:
        """The user's file, if the request names one."""
        if isinstance(self.weights, WeightsFile) or self.weights == PRETRAINED:
            return []
        return [Path(self.weights).expanduser()]

    @property
    def name(self) -> str:
        """The name of the file: the architecture, and the start of the SHA-256 if it is known.

        Otherwise, a hash of the request: the name must be known before the file.
        """
        if isinstance(self.weights, WeightsFile):
            digits = self.weights.sha256[:NAME_DIGITS]
        else:
            digits = short_hash([self.package, self.architecture, self.weights])
        return f"{re.sub('[^A-Za-z0-9_.-]', '-', self.architecture)}-{digits}"


class WeightsRecord(Options):
    """What is known about a file of weights; it lies beside the file, as JSON.

    origin: the address or the file name (without its folder) that it came from. source_sha256: that
    of the file as it came; sha256: that of the .safetensors file. pretrained_on: the library's name
    for the weights, such as "IMAGENET1K_V1" or "in1k", if it knows them. license: as the library
    says. mean, std: those of each channel in 0…1 by which inputs are normalized. image_size: the
    height and width that the network was trained on. head_classes: of the head that came with the
    weights; 0 without one.
    """

    package: Literal["torchvision", "timm"]
    architecture: str
    package_version: str
    origin: str
    source_sha256: str
    sha256: str
    pretrained_on: str | None
    license: str | None
    mean: PerChannel
    std: PerChannel
    image_size: HeightAndWidth
    interpolation: Interpolation
    head_classes: int

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read the record of a file of weights. Raises `UserError` if it is damaged."""
        try:
            return cls.checked(json.loads(path.read_text(encoding="utf-8")), "its content")
        except (OSError, ValueError, UserError) as error:
            problem = one_line(str(error))[:200]
            raise UserError(
                f"{path}: is not a record of weights ({problem}); remove it and call again"
            ) from None


def shown_url(url: str) -> str:
    """Return an address without what may be secret: a user's name, and a query."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "URL"
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def weights_request(model: Model) -> WeightsRequest | None:
    """Return the weights that a model asks for, or None if it starts from random ones."""
    network: Torchvision | Timm | FrozenNetwork
    if isinstance(model, FrozenFeatures):
        network = model.on
    elif isinstance(model, Torchvision | Timm):
        network = model
    else:
        return None
    if network.weights is None:
        return None
    return WeightsRequest(
        package=network.name, architecture=network.architecture, weights=network.weights
    )
