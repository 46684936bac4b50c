"""Pretrained weights for the networks of torchvision and timm."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from imagepipe.errors import UserError, one_line
from imagepipe.models.heads import head_names, is_in

# Counts batches, and changes nothing; some files lack it.
COUNTER = "num_batches_tracked"


@torch.no_grad()
def load_pretrained(model: nn.Module, path: Path) -> None:
    """Copy the weights of a .safetensors file into a network of torchvision or timm.

    The file names them as the library does. The head keeps its own, for other classes. Position
    embeddings are resized to those of the network's image size, as by the library. Raises
    `UserError` if the file does not hold exactly the network's other weights.
    """
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path}: cannot be read ({one_line(str(error))})") from None
    heads = head_names(model)
    state = {name: tensor for name, tensor in model.state_dict().items() if not is_in(name, heads)}
    tensors = {name: tensor for name, tensor in tensors.items() if not is_in(name, heads)}
    if other_shapes(state, tensors):
        tensors = resized(model, tensors)
    counters = {name for name in state.keys() | tensors.keys() if name.endswith(COUNTER)}
    for names, words in (
        (state.keys() - tensors.keys() - counters, "lacks {}"),
        (tensors.keys() - state.keys() - counters, "has {}, which the network lacks"),
        (other_shapes(state, tensors), "has another shape of {}"),
    ):
        if names:
            raise UserError(
                f"{path}: does not hold the weights of the network: it "
                + words.format(some_of(names))
            )
    for name in state.keys() & tensors.keys():
        state[name].copy_(tensors[name])


def other_shapes(state: dict[str, Tensor], tensors: dict[str, Tensor]) -> set[str]:
    """Return the names of the tensors that differ in shape."""
    names = state.keys() & tensors.keys()
    return {name for name in names if state[name].shape != tensors[name].shape}


def some_of(names: Iterable[str]) -> str:
    """Return one of some names, and how many there are, for an error."""
    first, *others = sorted(names)
    return f"{first} and {len(others)} more" if others else first


def resized(model: Any, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors with position embeddings for a network's image size, where it has any."""
    if hasattr(model, "pretrained_cfg"):
        # timm's own, by which it loads weights; most files of networks have one of this name.
        adapt = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
        return dict(adapt(dict(tensors), model)) if adapt else tensors
    if "encoder.pos_embedding" in tensors:
        from torchvision.models.vision_transformer import interpolate_embeddings

        # It ends with an error if the embeddings are not those of a square, or too few.
        with_embedding: dict[str, Tensor] = interpolate_embeddings(
            model.image_size, model.patch_size, dict(tensors)
        )
        return with_embedding
    return tensors
