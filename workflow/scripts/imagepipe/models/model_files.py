"""Trained models on disk: the weights, and all that is needed to use them."""

import json
from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from imagepipe.config.options import Options
from imagepipe.config.recipe import (
    Fit,
    FrozenFeatures,
    LibraryNetwork,
    Model,
    TestTimeAugmentation,
)
from imagepipe.config.weights import Interpolation
from imagepipe.errors import UserError, one_line
from imagepipe.files import atomic_write
from imagepipe.models.create import create_model
from imagepipe.models.folding import fold_frozen_batch_norm
from imagepipe.models.frozen_features import FrozenWithHead

# A single key: safetensors writes several in random order, and the bytes must not vary.
METADATA_KEY = "imagepipe"
# What json, PyTorch and the file system raise for a file that is not a model.
BAD_CONTENT = (OSError, KeyError, TypeError, ValueError, RuntimeError)

PerChannel = Annotated[list[float], Field(min_length=3, max_length=3)]
HeightAndWidth = Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=2, max_length=2)]


class ModelDescription(Options):
    """What a model file says about its weights.

    classes: their names in the order of the logits. several_labels: an image may have several, so
    that each class has a probability of its own (sigmoid, not softmax). Images are brought to
    `stored_size` by `fit`, resized to `image_size` on the device by `interpolation`, and
    normalized by `mean` and `std`, those of each channel in 0…1. Sizes are height and width in
    pixels.
    """

    model: Model
    classes: list[str]
    several_labels: bool
    stored_size: HeightAndWidth
    fit: Fit
    image_size: HeightAndWidth
    mean: PerChannel
    std: PerChannel
    test_time_augmentation: TestTimeAugmentation
    interpolation: Interpolation = "bilinear"


def save_model(path: Path, model: nn.Module, description: ModelDescription) -> None:
    """Write a model as .safetensors. The same weights give the same bytes.

    The file does not say from which weights the model started: they may be a path of the user's.
    """
    description = description.model_copy(update={"model": without_weights(description.model)})
    weights = {
        name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()
    }
    metadata = {METADATA_KEY: json.dumps(description.model_dump(), sort_keys=True)}
    with atomic_write(path) as temporary:
        # `save_file` would make a file that only its owner can read, whatever the umask.
        temporary.write_bytes(save(weights, metadata))


def without_weights(model: Model) -> Model:
    """Return a network's options without the pretrained weights that it started from."""
    if isinstance(model, LibraryNetwork):
        return model.model_copy(update={"weights": None})
    if isinstance(model, FrozenFeatures):
        return model.model_copy(update={"on": model.on.model_copy(update={"weights": None})})
    return model


def load_model(path: Path) -> tuple[nn.Module, ModelDescription]:
    """Read a model, on the CPU and in evaluation mode, in which it is as fast as it can be.

    Raises `UserError` if the file is not a model of this workflow, or its library is not installed.
    """
    try:
        with safe_open(path, framework="pt") as file:
            values = json.loads((file.metadata() or {})[METADATA_KEY])
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        description = ModelDescription.checked(values, "metadata")
    except (UserError, SafetensorError, *BAD_CONTENT) as error:
        raise _not_a_model(path, error) from None
    try:
        model = create_model(
            description.model, len(description.classes), image_size=description.image_size
        )
        model.load_state_dict(weights)
    except BAD_CONTENT as error:
        raise _not_a_model(path, error) from None
    model.eval()
    if isinstance(description.model, LibraryNetwork | FrozenFeatures):
        network = model.features if isinstance(model, FrozenWithHead) else model
        fold_frozen_batch_norm(network, torch.zeros(1, 3, *description.image_size))
    return model, description


def _not_a_model(path: Path, error: Exception) -> UserError:
    detail = one_line(str(error))[:200]
    return UserError(f"{path}: is not a model of this workflow ({detail}); train again")
