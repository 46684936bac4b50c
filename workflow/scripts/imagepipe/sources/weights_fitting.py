"""Weights by the names of a library's network: comparison with it, and conversion to it."""

import logging
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from imagepipe.config.weights import WeightsRequest
from imagepipe.errors import UserError, one_line
from imagepipe.sources.network_library import import_library

# Two numbers of classes: tensors whose shapes differ belong to the head.
FEW, MANY = 7, 11
# Names in older files of torchvision's DenseNets, such as norm.1 for norm1.
OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)")


@dataclass(frozen=True)
class Architecture:
    """The names of a network's tensors with their shapes and types, in its order.

    `head` are those whose shape depends on the number of classes.
    """

    name: str
    shapes: Mapping[str, torch.Size]
    types: Mapping[str, torch.dtype]
    head: frozenset[str]


def fit_tensors(
    request: WeightsRequest, tensors: Mapping[str, Tensor], shown: str
) -> tuple[dict[str, Tensor], int]:
    """Return the tensors of a file by the network's names, and its head's number of classes.

    The types are the network's: float32, and int64 for counts. Heads for training alone, such as
    those of GoogLeNet, are left out. The number of classes is 0 without a head. Raises `UserError`,
    which names the file as `shown`, if the tensors are not this network's, whose head may have any
    number of classes, or if some are not finite.
    """
    module = import_library(request.package, request.architecture)
    architecture = inspect(module, request)
    found = {OLD_DENSENET.sub(r"\1\2", name): tensor for name, tensor in tensors.items()}
    found = {name: tensor for name, tensor in found.items() if not is_auxiliary(name)}
    problem = difference(found, architecture)
    if problem and request.package == "timm":
        found = converted_by_timm(module, request, tensors) or found
        problem = difference(found, architecture)
    if problem:
        raise UserError(
            f"{shown}: has weights of another architecture than {architecture.name}: {problem}; "
            "correct the model's architecture or weights"
        )
    fitted: dict[str, Tensor] = {}
    for name in sorted(architecture.shapes):
        if name in found:
            tensor = found[name].to(architecture.types[name])
            if not tensor.isfinite().all():
                raise UserError(
                    f"{shown}: {name} has values that are not finite; get the file again, or name "
                    "another one"
                )
            fitted[name] = tensor.clone(memory_format=torch.contiguous_format)
        elif is_counter(name):
            fitted[name] = torch.zeros((), dtype=architecture.types[name])
    return fitted, head_classes(fitted, architecture)


def inspect(module: Any, request: WeightsRequest) -> Architecture:
    """Return the names, shapes and types of a network's tensors. Its weights take no memory."""
    few, many = (build(module, request, classes).state_dict() for classes in (FEW, MANY))
    used = {name: tensor for name, tensor in few.items() if not is_auxiliary(name)}
    return Architecture(
        request.architecture,
        {name: tensor.shape for name, tensor in used.items()},
        {name: tensor.dtype for name, tensor in used.items()},
        frozenset(name for name, tensor in used.items() if tensor.shape != many[name].shape),
    )


class EmptyOnMeta(TorchFunctionMode):
    """Creates uninitialized tensors, as those of large layers, without memory.

    Under `torch.device("meta")`, networks that compute their widths by tensors could not be built.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is torch.empty and kwargs.get("device") is None:
            kwargs = {**kwargs, "device": "meta"}
        return func(*args, **kwargs)


def build(module: Any, request: WeightsRequest, num_classes: int) -> nn.Module:
    """Return a library's network, whose large tensors have no content if possible."""
    create = module.create_model if request.package == "timm" else module.models.get_model
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with EmptyOnMeta():
                model: nn.Module = create(request.architecture, num_classes=num_classes)
        except (RuntimeError, NotImplementedError):  # It computes with its weights.
            model = create(request.architecture, num_classes=num_classes)
    return model


def difference(tensors: Mapping[str, Tensor], architecture: Architecture) -> str | None:
    """Say where tensors first differ from a network's, if they do, leaving aside its head."""
    for name, shape in architecture.shapes.items():
        if name in architecture.head or (is_counter(name) and name not in tensors):
            continue
        if name not in tensors:
            return f"there is no {name}"
        if tensors[name].shape != shape:
            return f"{name} is {sides(tensors[name].shape)} where {sides(shape)} is expected"
    extra = sorted(tensors.keys() - architecture.shapes.keys())
    return f"there is {one_line(extra[0])[:100]}, which the network lacks" if extra else None


def converted_by_timm(
    timm: Any, request: WeightsRequest, tensors: Mapping[str, Tensor]
) -> dict[str, Tensor] | None:
    """Return weights with names or shapes of their authors as those of timm, or None.

    timm knows some of these for each network, and converts them when it loads weights.
    """
    logging.getLogger("timm").setLevel(logging.ERROR)
    try:
        model: nn.Module = timm.create_model(
            request.architecture,
            pretrained=True,
            pretrained_cfg_overlay={"state_dict": dict(tensors)},
            pretrained_strict=True,
        )
    except Exception:  # The conversion of foreign tensors can raise anything.
        return None
    return model.state_dict()


def head_classes(tensors: Mapping[str, Tensor], architecture: Architecture) -> int:
    """Return the number of classes of the head in a file's tensors; 0 without one."""
    for name in sorted(architecture.head & tensors.keys()):
        sizes = zip(architecture.shapes[name], tensors[name].shape, strict=False)
        return next((found for size, found in sizes if size == FEW), 0)
    return 0


def is_counter(name: str) -> bool:
    """Tell whether a tensor counts batches. Files from old versions of PyTorch lack it."""
    return name.endswith("num_batches_tracked")


def is_auxiliary(name: str) -> bool:
    """Tell whether a tensor is of a head for training alone, as GoogLeNet and Inception have."""
    return name.startswith(("aux1.", "aux2.", "AuxLogits."))


def sides(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape)) or "a single number"
