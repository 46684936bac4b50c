"""Networks of torchvision and timm."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from imagepipe.config.recipe import Timm, Torchvision
from imagepipe.config.recipe_checks import pixels
from imagepipe.errors import UserError, one_line
from imagepipe.models.heads import add_hidden_layer
from imagepipe.models.pretrained import load_pretrained
from imagepipe.sources.network_library import import_library

# Layers that skip residual blocks, and the attribute that holds their probability.
DROP_PATH = {"StochasticDepth": "p", "DropPath": "drop_prob"}
# What networks raise for images of a size that they do not take.
SIZE_ERRORS = (RuntimeError, AssertionError, ValueError, TypeError)


def create_library_model(
    options: Torchvision | Timm,
    num_classes: int,
    weights: Path | None = None,
    image_size: Sequence[int] | None = None,
) -> nn.Module:
    """Return a network of torchvision or timm with a new head.

    The other weights are random, or those of the file `weights` (see `load_pretrained`). Networks
    for images of one size are made for `image_size`, height and width, or for the library's own.
    Raises `UserError` if the library is not installed, has no such architecture, or the network
    lacks what the options ask for.
    """
    library, architecture = options.name, options.architecture
    module = import_library(library, architecture)
    if library == "timm":
        model = with_accepted(
            module.create_model,
            architecture,
            num_classes=num_classes,
            img_size=None if image_size is None else tuple(image_size),
            drop_path_rate=options.drop_path or None,
        )
    else:
        model = with_accepted(
            module.models.get_model,
            architecture,
            num_classes=num_classes,
            stochastic_depth_prob=options.drop_path or None,
            **torchvision_arguments(architecture, image_size),
        )
    set_up_drop_path(model, options)
    if options.stem == "small":
        adapt_stem(model)
    if options.hidden_units is not None:
        add_hidden_layer(model, options.hidden_units)
    if weights is not None:
        load_pretrained(model, weights)
    return model


def with_accepted(
    create: Callable[..., nn.Module], architecture: str, **arguments: Any
) -> nn.Module:
    """Return create(architecture, …) with those arguments that are not None and that it takes."""
    arguments = {name: value for name, value in arguments.items() if value is not None}
    while True:
        try:
            return create(architecture, **arguments)
        except TypeError as error:
            is_refusal = "unexpected keyword argument" in str(error)
            refused = [name for name in arguments if is_refusal and f"'{name}'" in str(error)]
            if not refused:
                raise
            del arguments[refused[0]]


def torchvision_arguments(architecture: str, image_size: Sequence[int] | None) -> dict[str, Any]:
    """Return what some networks of torchvision need: their image size, and no auxiliary heads.

    GoogLeNet and Inception never change the normalization of their inputs, as torchvision has them
    do with its weights: the record of these has the mean and std that are left without that.
    """
    if architecture in ("googlenet", "inception_v3"):
        return {"aux_logits": False, "init_weights": True}
    if image_size is not None and architecture.startswith("vit_"):
        if image_size[0] != image_size[1]:
            raise UserError(
                f"recipe: image_size: {architecture} of torchvision takes square images only, not "
                f"{pixels(image_size)}"
            )
        return {"image_size": image_size[0]}
    if image_size is not None and architecture.startswith("maxvit_"):
        return {"input_size": tuple(image_size)}
    return {}


def set_up_drop_path(model: nn.Module, options: Torchvision | Timm) -> None:
    """Turn off drop path if the recipe does; raise `UserError` if the network lacks it."""
    layers = [
        (module, DROP_PATH[type(module).__name__])
        for module in model.modules()
        if type(module).__name__ in DROP_PATH
    ]
    if options.drop_path == 0:
        for module, probability in layers:
            setattr(module, probability, 0.0)
    elif not layers:
        raise UserError(
            f"recipe: model.drop_path: is {options.drop_path:g}, but {options.architecture} of "
            f"{options.name} has no residual blocks to skip; set it to 0"
        )


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
    options: Torchvision | Timm,
    num_classes: int,
    image_size: Sequence[int],
    smallest: Sequence[int] | None = None,
) -> None:
    """Raise `UserError` if a network does not map images of this height and width to logits.

    smallest: the smallest height and width in training, if it is another.
    """
    size = image_size
    try:
        model = create_library_model(options, num_classes, image_size=image_size)
        for size in {tuple(image_size), tuple(smallest or image_size)}:
            logits = model(torch.zeros(2, 3, *size))
    except SIZE_ERRORS as error:
        raise size_error("model", options.architecture, size, error) from None
    if not isinstance(logits, Tensor) or logits.shape != (2, num_classes):
        raise UserError(
            f"recipe: model.architecture: {options.architecture} gives more than logits in "
            "training; choose another one"
        )


def size_error(key: str, architecture: str, size: Sequence[int], error: Exception) -> UserError:
    """Return the user's error for a network, of the section `key`, that does not take a size."""
    return UserError(
        f"recipe: {key}.architecture: {architecture} does not take images of {pixels(size)} "
        f"({one_line(str(error))[:200]}); choose another one"
    )
