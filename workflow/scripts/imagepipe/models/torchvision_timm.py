"""Networks of torchvision and timm, adapted to small images."""

import importlib
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from imagepipe.config.architectures import unknown_architecture
from imagepipe.config.packages import not_installed
from imagepipe.config.recipe import Timm, Torchvision
from imagepipe.config.recipe_checks import pixels
from imagepipe.errors import UserError, one_line


def create_library_model(options: Torchvision | Timm, num_classes: int) -> nn.Module:
    """Return a network of torchvision or timm with random weights and an adapted stem.

    Raises `UserError` if the library is not installed or has no such architecture.
    """
    library, architecture = options.name, options.architecture
    try:
        # Imported only here: it takes seconds.
        module = importlib.import_module(library)
    except ModuleNotFoundError:
        raise UserError(f"recipe: model.name: {not_installed(library)}") from None
    if library == "timm":
        known, create = module.list_models(), module.create_model
    else:
        known, create = module.models.list_models(module=module.models), module.models.get_model
    if architecture not in known:
        raise UserError(
            f"recipe: model.architecture: {unknown_architecture(library, architecture, known)}"
        )
    model: nn.Module = create(architecture, num_classes=num_classes)
    adapt_stem(model)
    return model


def adapt_stem(model: nn.Module) -> None:
    """Stop a network for large images from shrinking small ones in its first layers.

    A first convolution with a stride becomes a 3×3 one without, and max poolings before the second
    convolution are removed, as He et al. do for CIFAR-10 (arXiv 1512.03385, section 4.2). Networks
    whose first convolution has no stride stay as they are.
    """
    modules = list(model.named_modules())
    convolutions = [name for name, module in modules if isinstance(module, nn.Conv2d)]
    first = model.get_submodule(convolutions[0]) if convolutions else None
    if not isinstance(first, nn.Conv2d) or first.stride == (1, 1):
        return
    for name, module in modules:
        if name in convolutions[1:]:
            break
        if isinstance(module, nn.MaxPool2d):
            model.set_submodule(name, nn.Identity())
    replacement = nn.Conv2d(
        first.in_channels,
        first.out_channels,
        kernel_size=3,
        padding=1,
        groups=first.groups,
        bias=first.bias is not None,
    )
    model.set_submodule(convolutions[0], replacement)


def check_library_model(
    options: Torchvision | Timm, num_classes: int, image_size: Sequence[int]
) -> None:
    """Raise `UserError` if a network does not map images of this height and width to logits."""
    model = create_library_model(options, num_classes)
    try:
        logits = model(torch.zeros(2, 3, *image_size))
    except (RuntimeError, AssertionError, ValueError) as error:
        detail = one_line(str(error))[:200]
        raise UserError(
            f"recipe: model.architecture: {options.architecture} does not take images of "
            f"{pixels(image_size)} ({detail}); choose another one"
        ) from None
    if not isinstance(logits, Tensor) or logits.shape != (2, num_classes):
        raise UserError(
            f"recipe: model.architecture: {options.architecture} gives more than logits in "
            "training; choose another one"
        )
