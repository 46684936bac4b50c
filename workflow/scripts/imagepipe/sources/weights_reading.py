"""Tensors from files of weights. No code in a file is run."""

import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from imagepipe.errors import UserError, one_line

# Keys around the weights in files that trainings write.
WRAPPERS = ("state_dict", "model", "model_state_dict")
# What torch.compile and DistributedDataParallel put before all names.
PREFIXES = ("_orig_mod.", "module.")
GET_AGAIN = "get the file again, or name another one"


def read_tensors(path: Path, shown: str) -> dict[str, Tensor]:
    """Return {name: tensor} of a .safetensors file, or of a pickle, on the CPU.

    Raises `UserError`, which names the file as `shown`, if it is neither, damaged, or a pickle that
    holds more than tensors and plain values.
    """
    with path.open("rb") as file:
        start = file.read(9)
    try:
        # Eight bytes with the length of the header come before the header, which is JSON.
        if start[8:] == b"{":
            content = load_file(path)
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                content = torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # A damaged pickle can raise anything.
        raise refusal(shown, str(error)) from None
    tensors = without_prefix(unwrapped(content))
    for name, tensor in tensors.items():
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.device.type != "cpu":
            raise UserError(
                f"{shown}: {one_line(name)[:100]} is sparse, quantized or without values; save the "
                "weights as plain tensors"
            )
    if not tensors:
        raise UserError(f"{shown}: holds no tensors by name; name a file of a network's weights")
    return tensors


def refusal(shown: str, problem: str) -> UserError:
    if found := re.search(r"GLOBAL ([\w.]+)", problem):
        return UserError(
            f"{shown}: is a pickle with code ({found[1]}), which is not run; get the weights as "
            ".safetensors, or save the tensors alone: torch.save(model.state_dict(), …)"
        )
    # PyTorch puts a page of advice around some reasons.
    reason = problem.rpartition("WeightsUnpickler error:")[2].partition("Check the doc")[0]
    return UserError(
        f"{shown}: is damaged, or no file of weights ({one_line(reason)[:200]}); {GET_AGAIN}"
    )


def unwrapped(content: Any) -> dict[str, Tensor]:
    """Return the weights in what a file holds, without what is beside and around them."""
    # No more often: in a pickle, a mapping may hold itself.
    for _ in WRAPPERS:
        if isinstance(content, Mapping):
            inner = (content[key] for key in WRAPPERS if isinstance(content.get(key), Mapping))
            content = next(inner, content)
    if not isinstance(content, Mapping):
        return {}
    return {
        name: tensor.detach()
        for name, tensor in content.items()
        if isinstance(name, str) and isinstance(tensor, Tensor)
    }


def without_prefix(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors without a prefix that all names have."""
    for prefix in (*PREFIXES, PREFIXES[0]):
        if all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return tensors
