"""Checks for recipes that cannot work, without building the network or reading the images.

They run with the configuration, before any job, because Snakemake removes a training's earlier
results when it starts. Nothing here imports PyTorch, which takes seconds.
"""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence

from imagepipe.config.architectures import (
    known_architectures,
    unknown_architecture,
    without_tag,
)
from imagepipe.config.image_form import ImageForm
from imagepipe.config.packages import is_installed, not_installed
from imagepipe.config.recipe import (
    SGD,
    Augmentation,
    FrozenFeatures,
    FrozenNetwork,
    KNNHead,
    LibraryNetwork,
    MLPHead,
    Model,
    Recipe,
    Timm,
    Torchvision,
)
from imagepipe.config.settings import Settings
from imagepipe.config.weights import PRETRAINED, weights_request
from imagepipe.errors import UserError, nearest

# A dotted key of the recipe, and the problem with its value.
Problem = tuple[str, str]

# Keys that say how the network sees the images in training: those of frozen features are computed
# once, from the images as they are.
NOT_OF_FEATURES = (
    *("augmentation", "progressive_resizing", "micro_batch_size", "fine_tune", "freeze", "compile"),
    "test_time_augmentation",
)
# Keys of a training by steps, which `linear` and `knn` do without.
OF_STEPS = (
    *("batch_size", "min_steps_per_epoch", "sampling", "drop_last", "epochs", "optimizer"),
    *("schedule", "gradient_clipping", "averaging"),
)


def check_recipe(recipe: Recipe, form: ImageForm, settings: Settings, file: str) -> None:
    """Raise `UserError` for a recipe that contradicts itself, the images or the settings.

    `recipe` is the content of `file` with `settings.override` applied. The message names the one
    of the two that sets the key.
    """
    found = problems(recipe, (form.height, form.width), largest_stored(form), settings.device)
    problem = next(found, None)
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
    """Raise `UserError` for a recipe that contradicts the images, once their size is known.

    That is after packing, if they differ in size. image_size and stored_size: the height and width,
    in pixels, that the network sees and that are stored.
    """
    found = itertools.chain(
        problems(recipe, image_size, stored_size, "auto"),
        problems_of_crops(recipe.augmentation, stored_size),
    )
    problem = next(found, None)
    if problem is not None:
        raise UserError("recipe: {}: {}".format(*problem))


def largest_stored(form: ImageForm) -> tuple[int, int]:
    """Return the largest height and width at which images of this form may be stored."""
    height, width = form.own_size or (form.height, form.width)
    return min(height, form.height), min(width, form.width)


def problems(
    recipe: Recipe, image_size: Sequence[int], stored_size: Sequence[int], device: str
) -> Iterator[Problem]:
    """Yield the problems of a recipe."""
    smallest = smallest_image(recipe, image_size)
    yield from problems_of_model(recipe.model, smallest)
    yield from problems_of_weights(recipe)
    if isinstance(recipe.model, FrozenFeatures):
        yield from keys_without_effect(recipe, recipe.model.name)
    yield from problems_of_augmentation(recipe.augmentation, stored_size)
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
        yield from problems_of_architecture(model, "model")
    if isinstance(model, FrozenFeatures) and is_installed("torch"):
        yield from problems_of_architecture(model.on, "model.on")


def problems_of_architecture(
    network: Torchvision | Timm | FrozenNetwork, key: str
) -> Iterator[Problem]:
    """Yield the problems of a library's network, which is the section `key`."""
    if not is_installed(network.name):
        yield f"{key}.name", not_installed(network.name)
    architecture, known = network.architecture, known_architectures(network.name)
    # The set is empty for an unknown layout of the library: then the job decides.
    name = without_tag(network.name, architecture)
    if known and name not in known:
        yield f"{key}.architecture", unknown_architecture(network.name, architecture, known)
    elif name != architecture and network.weights is None:
        yield (
            f"{key}.architecture",
            f"is {architecture}, which names weights of {name}, but {key}.weights is null; set it "
            f"to {PRETRAINED}, or architecture: {name}",
        )


def problems_of_weights(recipe: Recipe) -> Iterator[Problem]:
    """Yield the problems of pretrained weights, and of a recipe that needs some."""
    model = recipe.model
    is_frozen, key = isinstance(model, FrozenFeatures), key_of_weights(model)
    request = weights_request(model)
    if request is None:
        if is_frozen:
            yield (
                key,
                f"is null, but {model.name} needs a pretrained network; set it to {PRETRAINED}, "
                "the path of a file, or {url, sha256}",
            )
        if recipe.fine_tune is not None and not is_frozen:
            yield (
                "fine_tune",
                "needs a network with pretrained weights; set model.weights"
                + ("" if isinstance(model, LibraryNetwork) else " of a torchvision or timm network")
                + ", or fine_tune: null",
            )
        return
    text = request.weights
    # A word is no path: a file of that name here would change what the recipe means.
    if isinstance(text, str) and text != PRETRAINED and not {"/", "."} & set(text):
        yield (
            key,
            f"is {text!r}, but must be {PRETRAINED}, the path of a file, or {{url, sha256}}"
            + nearest(text.lower(), [PRETRAINED]),
        )
    if isinstance(model, LibraryNetwork) and model.stem == "small":
        yield (
            "model.stem",
            "is small, but must be original with weights, which belong to the original first "
            "layers; set stem: original and a larger image_size, or weights: null",
        )


def key_of_weights(model: Model) -> str:
    """Return the key of a model's pretrained weights."""
    return "model.on.weights" if isinstance(model, FrozenFeatures) else "model.weights"


def check_weights_file(model: Model) -> None:
    """Raise `UserError` if a model's weights are a file of the user's that is not there.

    The jobs on other machines do not need it.
    """
    request = weights_request(model)
    if request is None:
        return
    key = key_of_weights(model)
    for path in request.files:
        if path.is_dir():
            raise UserError(f"{key}: {path} is a folder; name the file in it")
        if not path.is_file():
            raise UserError(
                f"{key}: there is no file {path}; put the weights of {request.package}'s "
                f"{request.architecture} there, or correct the path"
            )


def keys_without_effect(recipe: Recipe, name: str) -> Iterator[Problem]:
    """Yield the keys that would change nothing for the model `name` on frozen features."""
    default = Recipe()
    for key in NOT_OF_FEATURES:
        if getattr(recipe, key) != getattr(default, key):
            flip = "; see model.on.flip" if key == "test_time_augmentation" else ""
            yield (
                key,
                f"does not apply to {name}, whose features are computed once, from the "
                f"images as they are; remove it, or start from recipe=probe{flip}",
            )
    of_steps = () if isinstance(recipe.model, MLPHead) else OF_STEPS
    for key in (*of_steps, "loss") if isinstance(recipe.model, KNNHead) else of_steps:
        if getattr(recipe, key) != getattr(default, key):
            yield (
                key,
                f"does not apply to {name}, which is not trained step by step; remove it, or "
                "start from recipe=probe",
            )


def problems_of_augmentation(
    augmentation: Augmentation, image_size: Sequence[int]
) -> Iterator[Problem]:
    """Yield the problems of an augmentation of images of this height and width."""
    crop, erasing, affine = (
        augmentation.random_resized_crop,
        augmentation.random_erasing,
        augmentation.affine,
    )
    ranges = []
    if crop is not None:
        ranges.append(("random_resized_crop", "area", crop.min_area, crop.max_area))
    if affine is not None:
        ranges.append(("affine", "scale", affine.min_scale, affine.max_scale))
    if erasing is not None:
        ranges.append(("random_erasing", "area", erasing.min_area, erasing.max_area))
    for key, name, least, most in ranges:
        if least > most:
            yield (
                f"augmentation.{key}.min_{name}",
                f"is {least:g}, but must be at most max_{name}, which is {most:g}",
            )
    for key, value, largest in (
        ("random_crop_padding", augmentation.random_crop_padding, min(image_size) - 1),
        ("cutout", augmentation.cutout, min(image_size)),
    ):
        if value > largest:
            yield (
                f"augmentation.{key}",
                f"is {value}, but must be at most {largest} for images of {pixels(image_size)}",
            )
    if augmentation.trivial_augment and augmentation.rand_augment is not None:
        yield (
            "augmentation.rand_augment",
            "is set, but must be null with trivial_augment; remove one of them",
        )
    if augmentation.mixup and augmentation.cutmix:
        yield (
            "augmentation.cutmix",
            f"is {augmentation.cutmix:g}, but must be 0 with mixup, which is "
            f"{augmentation.mixup:g}; set one of them to 0",
        )


def problems_of_crops(augmentation: Augmentation, image_size: Sequence[int]) -> Iterator[Problem]:
    """Yield the problem of crops from shrunk images, which lack the detail of those to predict."""
    crop = augmentation.random_resized_crop
    if crop is not None and crop.resize and crop.resize < min(image_size):
        yield (
            "augmentation.random_resized_crop.resize",
            f"is {crop.resize}, but must be at least {min(image_size)} for images of "
            f"{pixels(image_size)}; set it to null or to about {round(1.25 * min(image_size))}, or "
            "set a smaller image_size",
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
