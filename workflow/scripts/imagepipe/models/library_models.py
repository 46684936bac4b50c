"""Networks of torchvision and timm by name, fitted to small images."""

import importlib
import itertools
from types import ModuleType

import torch
from torch import Tensor, nn

from imagepipe.config.architectures import not_installed, unknown_architecture
from imagepipe.config.recipe import Timm, Torchvision
from imagepipe.errors import UserError


def create_library_model(library: str, architecture: str, num_classes: int) -> nn.Module:
    """Return a network of `torchvision` or `timm`, with new random weights and a fitted stem.

    Raises `UserError` if the library is not installed or has no such architecture.
    """
    module = _import(library)
    if library == "timm":
        known = module.list_models()
    else:
        known = module.models.list_models(module=module.models)
    if architecture not in known:
        raise UserError(
            f"recipe: model.architecture: {unknown_architecture(library, architecture, known)}"
        )
    if library == "timm":
        model: nn.Module = module.create_model(architecture, num_classes=num_classes)
    else:
        model = module.models.get_model(architecture, weights=None, num_classes=num_classes)
    fit_stem(model)
    return model


def _import(library: str) -> ModuleType:
    try:
        return importlib.import_module(library)
    except ModuleNotFoundError:
        raise UserError(f"recipe: model.name: {not_installed(library)}") from None


def fit_stem(model: nn.Module) -> None:
    """Let a network that is made for large images keep the size of small ones at its beginning.

    A first convolution that takes steps of more than a pixel becomes one of 3×3 with steps of one,
    and a max pooling before the second convolution is left out, as He et al. (arXiv 1512.03385,
    section 4.2) have it for CIFAR-10. Other networks stay as they are.
    """
    named = list(model.named_modules())
    convolutions = [name for name, module in named if isinstance(module, nn.Conv2d)]
    first = model.get_submodule(convolutions[0]) if convolutions else None
    if not isinstance(first, nn.Conv2d) or first.stride == (1, 1):
        return
    for name, module in itertools.takewhile(lambda item: item[0] not in convolutions[1:], named):
        if isinstance(module, nn.MaxPool2d):
            model.set_submodule(name, nn.Identity())
    fitted = nn.Conv2d(
        first.in_channels,
        first.out_channels,
        kernel_size=3,
        padding=1,
        groups=first.groups,
        bias=first.bias is not None,
    )
    model.set_submodule(convolutions[0], fitted)


def check_library_model(options: Torchvision | Timm, classes: int, image_size: int) -> None:
    """Raise `UserError` if a network does not map images of that size to logits."""
    library, architecture = options.name, options.architecture
    model = create_library_model(library, architecture, classes)
    try:
        logits = model(torch.zeros(2, 3, image_size, image_size))
    except (RuntimeError, AssertionError, ValueError) as error:
        detail = " ".join(str(error).split())[:200]
        raise UserError(
            f"recipe: model.architecture: {architecture} does not take images of {image_size} "
            f"pixels ({detail}); take another one"
        ) from None
    if not isinstance(logits, Tensor) or logits.shape != (2, classes):
        raise UserError(
            f"recipe: model.architecture: {architecture} gives more than logits in training; take "
            "another one"
        )
