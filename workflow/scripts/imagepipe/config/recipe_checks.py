"""What of a recipe cannot work, as far as it can be said without the network and the images.

The configuration is refused for it before any job starts: Snakemake removes what a training has
left before it starts the next one. Nothing here imports PyTorch, which takes seconds.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from imagepipe.config.architectures import (
    LIBRARIES,
    is_installed,
    known_architectures,
    not_installed,
    unknown_architecture,
)
from imagepipe.errors import UserError

# Of airbench: one pixel is lost to the first convolution, and three times half of the rest.
SMALLEST_IMAGE = 9
# The largest images of which a network's last batch normalisation sees a single pixel.
LARGEST_FOR_ONE_PIXEL = {"small_cnn": 4, "wide_resnet": 4, "d2l_resnet18": 8, "airbench": 16}

# A key of the recipe, with dots, and what is wrong with its value.
Problem = tuple[str, str]


def check_recipe(
    recipe: Mapping[str, Any], image_size: int, settings: Mapping[str, Any], file: str
) -> None:
    """Raise `UserError` for a recipe that does not suit itself, the images or the settings.

    `recipe` is complete, from `file` and with the settings' `override`; the message names that of
    the two which holds the key.
    """
    problem = next(problems(recipe, image_size, settings), None)
    if problem is not None:
        key, text = problem
        source = "override" if holds(settings["override"], key) else file
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


def problems(
    recipe: Mapping[str, Any], image_size: int, settings: Mapping[str, Any]
) -> Iterator[Problem]:
    """Yield what cannot work in a complete recipe."""
    smallest = smallest_image(recipe, image_size)
    yield from problems_of_model(recipe["model"], smallest)
    yield from problems_of_augmentation(recipe["augmentation"], image_size)
    yield from problems_of_batches(
        recipe, smallest, settings["gpus_per_run"] * settings["nodes_per_run"]
    )
    optimizer = recipe["optimizer"]
    if optimizer["name"] == "sgd" and optimizer["nesterov"] and optimizer["momentum"] == 0:
        yield "optimizer.nesterov", "is true, but must be false with a momentum of 0"
    if recipe["precision"] == "fp16" and settings["device"] == "cpu":
        yield "precision", 'is "fp16", but must be auto, fp32 or bf16 with device=cpu'


def smallest_image(recipe: Mapping[str, Any], image_size: int) -> int:
    """Return the least size in pixels to which a recipe resizes images of `image_size`."""
    scales: list[float] = [stage["scale"] for stage in recipe["progressive_resizing"]]
    return max(1, round(image_size * min([1.0, *scales])))


def problems_of_model(model: Mapping[str, Any], smallest: int) -> Iterator[Problem]:
    """Yield what cannot work of a network, with images of `smallest` pixels among them."""
    name, architecture = model["name"], model["architecture"]
    if name == "airbench" and smallest < SMALLEST_IMAGE:
        yield (
            "model.name",
            f"airbench needs images of {SMALLEST_IMAGE} pixels at least, and gets some of "
            f"{smallest}; take another model, or leave progressive_resizing out",
        )
    # Without PyTorch here, trainings have an environment of their own, and their jobs check it.
    if name in LIBRARIES and is_installed("torch"):
        if not is_installed(name):
            yield "model.name", not_installed(name)
        known = known_architectures(name)
        # None are found if the library is laid out in a new way: then the job decides.
        if known and architecture not in known:
            yield "model.architecture", unknown_architecture(name, architecture, known)


def problems_of_augmentation(augmentation: Mapping[str, Any], image_size: int) -> Iterator[Problem]:
    """Yield what cannot work of the augmentation of images of `image_size` pixels."""
    crop = augmentation["random_resized_crop"]
    if crop is not None and crop["min_area"] > crop["max_area"]:
        yield (
            "augmentation.random_resized_crop.min_area",
            f"is {crop['min_area']:g}, but must be at most max_area, which is {crop['max_area']:g}",
        )
    for key, largest in (("random_crop_padding", image_size - 1), ("cutout", image_size)):
        if augmentation[key] > largest:
            yield (
                f"augmentation.{key}",
                f"is {augmentation[key]}, but must be at most {largest} for images of "
                f"{image_size} pixels",
            )
    if augmentation["mixup"] and augmentation["cutmix"]:
        yield (
            "augmentation.cutmix",
            f"is {augmentation['cutmix']:g}, but must be 0 with mixup, which is "
            f"{augmentation['mixup']:g}; set one of them to 0",
        )


def problems_of_batches(
    recipe: Mapping[str, Any], smallest: int, processes: int
) -> Iterator[Problem]:
    """Yield what cannot work in whole batches of images of `smallest` pixels and larger ones.

    An epoch's last batch, and one of few images, have sizes that nobody knows here.
    """
    batch_size: int = recipe["batch_size"]
    parts = math.ceil(batch_size / (recipe["micro_batch_size"] or batch_size))
    name = recipe["model"]["name"]
    # Several processes take their statistics together.
    one_image = processes == 1 and batch_size // parts == 1
    if one_image and smallest <= LARGEST_FOR_ONE_PIXEL.get(name, 0):
        key = "batch_size" if batch_size == 1 else "micro_batch_size"
        yield (
            key,
            f"is {recipe[key]}, but must be more, as {name} makes one pixel of an image of "
            f"{smallest}, and batch normalisation cannot learn from one pixel of one image",
        )
