"""Trained models on disk: the weights, and beside them all that is needed to use them."""

from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from imagepipe.config.recipe import Model
from imagepipe.errors import UserError
from imagepipe.files import atomic_write
from imagepipe.models.create import create_model

# One key only: safetensors writes several in a random order, and the file is to be the same bytes.
METADATA_KEY = "imagepipe"


@dataclass(frozen=True)
class ModelDescription:
    """What a model file says of itself, beside the weights.

    `model` is the recipe's section of that name, `classes` the names in the order of the logits,
    and the means and deviations are those of the channels in 0…1 with which images are
    standardised.
    """

    model: Model
    classes: list[str]
    image_size: int
    mean: list[float]
    std: list[float]
    test_time_augmentation: str


def save_model(path: Path, model: nn.Module, description: ModelDescription) -> None:
    """Write a model as .safetensors; the same weights give the same bytes."""
    weights = {
        name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()
    }
    metadata = {METADATA_KEY: TypeAdapter(ModelDescription).dump_json(description).decode()}
    with atomic_write(path) as temporary:
        # Not by `save_file`: that makes a file which nobody else may read, whatever the umask.
        temporary.write_bytes(save(weights, metadata))


def load_model(path: Path) -> tuple[nn.Module, ModelDescription]:
    """Read a model, on the CPU and in evaluation mode. Raises `UserError` if it is not ours."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            description = TypeAdapter(ModelDescription).validate_json(metadata[METADATA_KEY])
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        model = create_model(description.model, len(description.classes))
        model.load_state_dict(weights)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        detail = " ".join(str(error).split())[:200]
        raise UserError(
            f"{path}: is not a model of this workflow ({detail}); train again"
        ) from None
    return model.eval(), description
