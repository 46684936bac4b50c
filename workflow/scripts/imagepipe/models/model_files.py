"""Trained models on disk: the weights, and all that is needed to use them."""

import json
from pathlib import Path
from typing import Annotated

from pydantic import Field
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from imagepipe.config.options import Options
from imagepipe.config.recipe import Fit, Model, TestTimeAugmentation
from imagepipe.config.weights import Interpolation
from imagepipe.errors import UserError, one_line
from imagepipe.files import atomic_write
from imagepipe.models.create import create_model

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
    """Write a model as .safetensors. The same weights give the same bytes."""
    weights = {
        name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()
    }
    metadata = {METADATA_KEY: json.dumps(description.model_dump(), sort_keys=True)}
    with atomic_write(path) as temporary:
        # `save_file` would make a file that only its owner can read, whatever the umask.
        temporary.write_bytes(save(weights, metadata))


def load_model(path: Path) -> tuple[nn.Module, ModelDescription]:
    """Read a model, on the CPU and in evaluation mode.

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
        model = create_model(description.model, len(description.classes))
        model.load_state_dict(weights)
    except BAD_CONTENT as error:
        raise _not_a_model(path, error) from None
    return model.eval(), description


def _not_a_model(path: Path, error: Exception) -> UserError:
    detail = one_line(str(error))[:200]
    return UserError(f"{path}: is not a model of this workflow ({detail}); train again")
