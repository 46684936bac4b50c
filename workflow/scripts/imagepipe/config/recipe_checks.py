"""What cannot work in a recipe, as far as it can be told without the network and the images.

The configuration is refused for it before any job starts, as Snakemake removes what a training has
left before it starts the next. Nothing here imports PyTorch, which takes seconds.
"""

import math
from collections.abc import Iterator, Mapping

from imagepipe.config.architectures import (
    is_installed,
    known_architectures,
    not_installed,
    unknown_architecture,
)
from imagepipe.config.recipe import (
    SGD,
    Augmentation,
    Model,
    Recipe,
    Timm,
    Torchvision,
)
from imagepipe.config.settings import Settings
from imagepipe.errors import UserError

# A key of the recipe, with dots, and what is wrong with its value.
Problem = tuple[str, str]


def check_recipe(recipe: Recipe, image_size: int, settings: Settings, file: str) -> None:
    """Raise `UserError` for a recipe that suits neither itself, the images nor the settings.

    `recipe` is that of `file` with the settings' `override`; the message names that of the two
    which holds the key.
    """
    problem = next(problems(recipe, image_size, settings), None)
    if problem is not None:
        key, text = problem
        source = "override" if holds(settings.override, key) else file
        raise UserError(f"{source}: {key}: {text}")


def holds(options: object, key: str) -> bool:
    """Say whether options set a key that is written with dots, or a whole section around it."""
    for name in key.split("."):
        if not isinstance(options, Mapping):
            break
        if name not in options:
            return False
        options = options[name]
    return True


def problems(recipe: Recipe, image_size: int, settings: Settings) -> Iterator[Problem]:
    """Yield what cannot work in a recipe."""
    smallest = smallest_image(recipe, image_size)
    yield from problems_of_model(recipe.model, smallest)
    yield from problems_of_augmentation(recipe.augmentation, image_size)
    yield from problems_of_batches(recipe, smallest)
    optimizer = recipe.optimizer
    if isinstance(optimizer, SGD) and optimizer.nesterov and optimizer.momentum == 0:
        yield "optimizer.nesterov", "is true, but must be false with a momentum of 0"
    if recipe.precision == "fp16" and settings.device == "cpu":
        yield "precision", 'is "fp16", but must be auto, fp32 or bf16 with device=cpu'


def smallest_image(recipe: Recipe, image_size: int) -> int:
    """Return the smallest size in pixels to which a recipe resizes images of `image_size`."""
    scale = min([1.0, *(stage.scale for stage in recipe.progressive_resizing)])
    return max(1, round(image_size * scale))


def problems_of_model(model: Model, smallest: int) -> Iterator[Problem]:
    """Yield what cannot work of a network, with images of `smallest` pixels among them."""
    if smallest < model.min_image_size:
        yield (
            "model.name",
            f"{model.name} needs images of at least {model.min_image_size} pixels, and some have "
            f"{smallest}; choose another model, or remove progressive_resizing",
        )
    # Without PyTorch here, trainings have an environment of their own, and their jobs check it.
    if isinstance(model, Torchvision | Timm) and is_installed("torch"):
        if not is_installed(model.name):
            yield "model.name", not_installed(model.name)
        known = known_architectures(model.name)
        # None are found if the library is laid out in a new way: then the job decides.
        if known and model.architecture not in known:
            yield "model.architecture", unknown_architecture(model.name, model.architecture, known)


def problems_of_augmentation(augmentation: Augmentation, image_size: int) -> Iterator[Problem]:
    """Yield what cannot work of the augmentation of images of `image_size` pixels."""
    crop = augmentation.random_resized_crop
    if crop is not None and crop.min_area > crop.max_area:
        yield (
            "augmentation.random_resized_crop.min_area",
            f"is {crop.min_area:g}, but must be at most max_area, which is {crop.max_area:g}",
        )
    for key, value, largest in (
        ("random_crop_padding", augmentation.random_crop_padding, image_size - 1),
        ("cutout", augmentation.cutout, image_size),
    ):
        if value > largest:
            yield (
                f"augmentation.{key}",
                f"is {value}, but must be at most {largest} for images of {image_size} pixels",
            )
    if augmentation.mixup and augmentation.cutmix:
        yield (
            "augmentation.cutmix",
            f"is {augmentation.cutmix:g}, but must be 0 with mixup, which is "
            f"{augmentation.mixup:g}; set one of them to 0",
        )


def problems_of_batches(recipe: Recipe, smallest: int) -> Iterator[Problem]:
    """Yield what cannot work in whole batches of images of `smallest` pixels and larger ones.

    The sizes of an epoch's last batch, and of one that has few images, are not known here.
    """
    batch_size = recipe.batch_size
    chunks = math.ceil(batch_size / (recipe.micro_batch_size or batch_size))
    if batch_size // chunks == 1 and smallest <= recipe.model.one_pixel_size:
        key = "batch_size" if batch_size == 1 else "micro_batch_size"
        yield (
            key,
            f"is {getattr(recipe, key)}, but must be more: {recipe.model.name} reduces images of "
            f"{smallest} pixels to one pixel, and batch normalization cannot learn from one pixel "
            "of one image",
        )
