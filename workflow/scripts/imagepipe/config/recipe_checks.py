"""Checks for recipes that cannot work, without building the network or reading the images.

They run with the configuration, before any job, because Snakemake removes a training's earlier
results when it starts. Nothing here imports PyTorch, which takes seconds.
"""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence

from imagepipe.config.architectures import known_architectures, unknown_architecture
from imagepipe.config.packages import is_installed, not_installed
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

# A dotted key of the recipe, and the problem with its value.
Problem = tuple[str, str]


def check_recipe(recipe: Recipe, image_size: Sequence[int], settings: Settings, file: str) -> None:
    """Raise `UserError` for a recipe that contradicts itself, the images or the settings.

    image_size: the height and width of the network's images, in pixels. `recipe` is the content of
    `file` with `settings.override` applied. The message names the one
    of the two that sets the key.
    """
    problem = next(problems(recipe, image_size, settings.device), None)
    if problem is not None:
        key, text = problem
        source = "override" if holds(settings.override, key) else file
        raise UserError(f"{source}: {key}: {text}")


def holds(options: object, key: str) -> bool:
    """Return whether `options` set a dotted key, or a whole section around it."""
    for name in key.split("."):
        if not isinstance(options, Mapping):
            break
        if name not in options:
            return False
        options = options[name]
    return True


def check_images(recipe: Recipe, image_size: Sequence[int], stored_size: Sequence[int]) -> None:
    """Raise `UserError` for a recipe that contradicts the images, once their sizes are known.

    image_size: the height and width of the network's images. stored_size: those of the stored ones,
    which may be smaller. Both are known after packing.
    """
    augmentation = recipe.augmentation
    found = itertools.chain(
        problems(recipe, image_size, "auto"),
        problems_of_augmentation(augmentation, stored_size),
        problems_of_crops(augmentation, stored_size),
    )
    problem = next(found, None)
    if problem is not None:
        raise UserError("recipe: {}: {}".format(*problem))


def problems(recipe: Recipe, image_size: Sequence[int], device: str) -> Iterator[Problem]:
    """Yield the problems of a recipe."""
    smallest = smallest_image(recipe, image_size)
    yield from problems_of_model(recipe.model, smallest)
    yield from problems_of_augmentation(recipe.augmentation, image_size)
    yield from problems_of_batches(recipe, smallest)
    optimizer = recipe.optimizer
    if isinstance(optimizer, SGD) and optimizer.nesterov and optimizer.momentum == 0:
        yield "optimizer.nesterov", "is true, but must be false with a momentum of 0"
    if recipe.precision == "fp16" and device == "cpu":
        yield "precision", 'is "fp16", but must be auto, fp32 or bf16 with device=cpu'


def smallest_image(recipe: Recipe, image_size: Sequence[int]) -> tuple[int, int]:
    """Return the smallest height and width to which a recipe resizes images of `image_size`."""
    scale = min([1.0, *(stage.scale for stage in recipe.progressive_resizing)])
    return scaled_size(image_size, scale)


def scaled_size(image_size: Sequence[int], scale: float) -> tuple[int, int]:
    """Return height and width in pixels times `scale`, rounded."""
    height, width = (max(1, round(side * scale)) for side in image_size)
    return height, width


def pixels(size: Sequence[int]) -> str:
    """Return a height and width for people, such as "32 pixels" or "32×48 pixels"."""
    height, width = size
    return f"{height} pixels" if height == width else f"{height}×{width} pixels"


def problems_of_model(model: Model, smallest: Sequence[int]) -> Iterator[Problem]:
    """Yield the problems of a network whose smallest images have this height and width."""
    if min(smallest) < model.min_image_size:
        yield (
            "model.name",
            f"{model.name} needs images of at least {model.min_image_size} pixels, and some have "
            f"{pixels(smallest)}; choose another model, set a larger image_size, or remove "
            "progressive_resizing",
        )
    # If PyTorch is missing here, trainings have their own environment, and their jobs check this.
    if isinstance(model, Torchvision | Timm) and is_installed("torch"):
        if not is_installed(model.name):
            yield "model.name", not_installed(model.name)
        known = known_architectures(model.name)
        # The set is empty for an unknown layout of the library: then the job decides.
        if known and model.architecture not in known:
            yield "model.architecture", unknown_architecture(model.name, model.architecture, known)


def problems_of_augmentation(
    augmentation: Augmentation, stored_size: Sequence[int]
) -> Iterator[Problem]:
    """Yield the problems of an augmentation of images stored at this height and width, or less."""
    for name, what in (
        ("random_resized_crop", "area"),
        ("random_erasing", "area"),
        ("affine", "scale"),
    ):
        section = getattr(augmentation, name)
        if section is None:
            continue
        least, largest = (getattr(section, f"{end}_{what}") for end in ("min", "max"))
        if least > largest:
            yield (
                f"augmentation.{name}.min_{what}",
                f"is {least:g}, but must be at most max_{what}, which is {largest:g}",
            )
    for key, value, most in (
        ("random_crop_padding", augmentation.random_crop_padding, min(stored_size) - 1),
        ("cutout", augmentation.cutout, min(stored_size)),
    ):
        if value > most:
            yield (
                f"augmentation.{key}",
                f"is {value}, but must be at most {most} for images of {pixels(stored_size)}",
            )
    if augmentation.trivial_augment and augmentation.rand_augment is not None:
        yield "augmentation.rand_augment", "is set, but must be null with trivial_augment"
    if augmentation.mixup and augmentation.cutmix:
        yield (
            "augmentation.cutmix",
            f"is {augmentation.cutmix:g}, but must be 0 with mixup, which is "
            f"{augmentation.mixup:g}; set one of them to 0",
        )


def problems_of_crops(augmentation: Augmentation, stored_size: Sequence[int]) -> Iterator[Problem]:
    """Yield the problem of crops from shrunk images, which lack the detail of those to predict."""
    crop = augmentation.random_resized_crop
    if crop is not None and crop.resize and crop.resize < min(stored_size):
        smaller = min(stored_size)
        yield (
            "augmentation.random_resized_crop.resize",
            f"is {crop.resize}, but must be at least {smaller} for images of "
            f"{pixels(stored_size)}; set it to null or about {round(1.25 * smaller)}, or set a "
            "smaller image_size",
        )


def problems_of_batches(recipe: Recipe, smallest: Sequence[int]) -> Iterator[Problem]:
    """Yield the problems of full batches whose smallest images have this height and width.

    The sizes of an epoch's last batch, and of batches from few images, are unknown here.
    """
    batch_size = recipe.batch_size
    chunks = math.ceil(batch_size / (recipe.micro_batch_size or batch_size))
    if batch_size // chunks == 1 and max(smallest) <= recipe.model.one_pixel_size:
        key = "batch_size" if batch_size == 1 else "micro_batch_size"
        yield (
            key,
            f"is {getattr(recipe, key)}, but must be more: {recipe.model.name} reduces images of "
            f"{pixels(smallest)} to one pixel, and batch normalization cannot learn from one pixel "
            "of one image",
        )
