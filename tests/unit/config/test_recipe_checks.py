"""Recipes that cannot work are refused with the configuration; those beside them are not."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from builders import WORKFLOW, refused
from imagepipe.config import recipe_checks
from imagepipe.config.configuration import load_configuration
from imagepipe.config.options import sections
from imagepipe.config.recipe import Airbench, Model, Recipe
from imagepipe.config.recipe_checks import check_images, check_weights_file
from imagepipe.models.create import create_model


def load(override: dict[str, Any], recipe: str = "d2l-plain", **settings: Any) -> None:
    """Load a recipe with an override, for images of 32 pixels."""
    load_configuration({"recipe": recipe, "override": override} | settings, WORKFLOW)


AUGMENTATIONS: list[tuple[dict[str, Any], dict[str, Any], list[str]]] = [
    (
        {"mixup": 0.2, "cutmix": 0},
        {"mixup": 0.2, "cutmix": 1},
        ["augmentation.cutmix: is 1, but must be 0 with mixup, which is 0.2; set one of them to 0"],
    ),
    (
        {"random_crop_padding": 31},
        {"random_crop_padding": 32},
        ["augmentation.random_crop_padding: is 32, but must be at most 31 for images of 32 pixels"],
    ),
    (
        {"cutout": 32},
        {"cutout": 33},
        ["augmentation.cutout: is 33, but must be at most 32 for images of 32 pixels"],
    ),
    (
        {"affine": {"min_scale": 0.5, "max_scale": 0.5}},
        {"affine": {"min_scale": 1.5}},
        ["augmentation.affine.min_scale: is 1.5, but must be at most max_scale, which is 1"],
    ),
    (
        {"random_erasing": {"min_area": 0.01, "max_area": 0.01}},
        {"random_erasing": {"min_area": 0.02, "max_area": 0.01}},
        ["random_erasing.min_area: is 0.02, but must be at most max_area, which is 0.01"],
    ),
    (
        {"trivial_augment": False, "rand_augment": {}},
        {"trivial_augment": True, "rand_augment": {}},
        ["augmentation.rand_augment: is set, but must be null with trivial_augment; remove one"],
    ),
    (
        {"random_resized_crop": {"min_area": 0.5, "max_area": 0.5}},
        {"random_resized_crop": {"min_area": 0.9, "max_area": 0.5}},
        ["random_resized_crop.min_area: is 0.9, but must be at most max_area, which is 0.5"],
    ),
    (
        {"random_erasing": {"min_area": 0.1, "max_area": 0.1}},
        {"random_erasing": {"min_area": 0.2, "max_area": 0.1}},
        ["random_erasing.min_area: is 0.2, but must be at most max_area, which is 0.1"],
    ),
    (
        {"affine": {"min_scale": 0.5}},
        {"affine": {"min_scale": 1.5}},
        ["affine.min_scale: is 1.5, but must be at most max_scale, which is 1"],
    ),
    (
        {"trivial_augment": True},
        {"trivial_augment": True, "rand_augment": {}},
        ["augmentation.rand_augment: is set, but must be null with trivial_augment"],
    ),
]


@pytest.mark.parametrize(("right", "wrong", "words"), AUGMENTATIONS, ids=lambda _: "")
def test_augmentation_that_does_not_suit_itself_or_the_images_is_refused(
    right: dict[str, Any], wrong: dict[str, Any], words: list[str]
) -> None:
    load({"augmentation": right})
    with refused("override: ", *words):
        load({"augmentation": wrong})


def test_crops_from_shrunk_images_are_refused_once_the_size_is_known() -> None:
    recipe = Recipe.checked({"augmentation": {"random_resized_crop": {"resize": 40}}}, "recipe")
    check_images(recipe, [96, 128], [40, 60])
    with refused("random_resized_crop.resize: is 40, but must be at least 96", "about 120"):
        check_images(recipe, [96, 128], [96, 128])
    whole = Recipe.checked({"augmentation": {"random_resized_crop": {"resize": None}}}, "recipe")
    check_images(whole, [96, 128], [96, 128])


def test_pixels_of_the_augmentation_are_those_of_the_stored_images() -> None:
    """They are enlarged afterwards. The sample's have 32 pixels."""
    load({"image_size": 224, "augmentation": {"cutout": 32}})
    with refused("augmentation.cutout: is 33", "for images of 32 pixels"):
        load({"image_size": 224, "augmentation": {"cutout": 33}})
    recipe = Recipe.checked({"augmentation": {"cutout": 9}}, "recipe")
    check_images(recipe, [32, 32], [9, 9])
    with refused("augmentation.cutout: is 9, but must be at most 8 for images of 8 pixels"):
        check_images(recipe, [32, 32], [8, 8])


@pytest.mark.parametrize("size", [[32, 20], [20, 32]])
def test_the_smaller_side_of_the_recipes_own_size_counts(size: list[int]) -> None:
    load({"image_size": size, "augmentation": {"random_crop_padding": 19, "cutout": 20}})
    for key, value in (("random_crop_padding", 20), ("cutout", 21)):
        with refused(
            f"override: augmentation.{key}: is {value}", f"for images of {size[0]}×{size[1]} pixels"
        ):
            load({"image_size": size, "augmentation": {key: value}})
    airbench = {
        "model": {"name": "airbench"},
        "progressive_resizing": [{"until": 0.5, "scale": 0.4}],
    }
    sizes = "×".join(str(round(0.4 * side)) for side in size)
    with refused("airbench needs images of at least 9 pixels", f"some have {sizes} pixels"):
        load({"image_size": size} | airbench)
    load({"image_size": [23, 60]} | airbench)


def test_an_image_is_one_pixel_if_its_larger_side_is() -> None:
    one = {"model": {"name": "d2l_resnet18"}, "batch_size": 1}
    load({"image_size": [8, 9]} | one)
    with refused("batch_size: is 1", "images of 8×7 pixels to one pixel"):
        load({"image_size": [8, 7]} | one)


def test_images_that_airbench_cannot_take_are_refused() -> None:
    airbench = {"name": "airbench"}
    load({"model": airbench, "progressive_resizing": [{"until": 0.5, "scale": 0.3}]})
    with refused("override: model.name: airbench needs images of at least 9 pixels", "some have 8"):
        load({"model": airbench, "progressive_resizing": [{"until": 0.5, "scale": 0.25}]})


def test_smallest_image_of_airbench_is_the_smallest_that_it_takes() -> None:
    model, size = create_model(Airbench(), 3), Airbench.min_image_size
    model(torch.zeros(2, 3, size, size))
    with pytest.raises(RuntimeError):
        model(torch.zeros(2, 3, size - 1, size - 1))


def test_nesterov_needs_a_momentum() -> None:
    load({"optimizer": {"name": "sgd", "nesterov": True, "momentum": 0.1}})
    with refused("override: optimizer.nesterov: is true, but must be false with a momentum of 0"):
        load({"optimizer": {"name": "sgd", "nesterov": True, "momentum": 0}})


def test_fp16_is_refused_on_the_cpu() -> None:
    load({"precision": "fp16"}, device="cuda")
    load({"precision": "bf16"}, device="cpu")
    with refused('override: precision: is "fp16", but must be auto, fp32 or bf16 with device=cpu'):
        load({"precision": "fp16"}, device="cpu")


SMALL_NETWORKS: dict[str, dict[str, Any]] = {
    "small_cnn": {"width": 4},
    "wide_resnet": {"depth": 10, "widening_factor": 1},
    "d2l_resnet18": {},
    "airbench": {"widths": [4, 4, 4]},
}


@pytest.mark.parametrize("name", SMALL_NETWORKS)
def test_one_image_that_ends_as_one_pixel_is_what_batch_normalization_refuses(name: str) -> None:
    options = model_options({"name": name} | SMALL_NETWORKS[name])
    model = create_model(options, 3)
    size = options.one_pixel_size
    model(torch.zeros(2, 3, size, size))
    model(torch.zeros(1, 3, size + 1, size + 1))
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        model(torch.zeros(1, 3, size, size))


def model_options(model: dict[str, Any]) -> Model:
    return Recipe.checked({"model": model}, "test").model


def test_every_network_of_ours_says_when_it_sees_one_pixel() -> None:
    kinds = {
        one.model_fields["name"].default
        for one in sections(Recipe.model_fields["model"].annotation)
        if one.one_pixel_size
    }
    assert kinds == set(SMALL_NETWORKS)


@pytest.mark.parametrize(
    ("batch_size", "micro_batch_size", "key"),
    [
        (1, None, "batch_size: is 1"),
        (1, 5, "batch_size: is 1"),
        (2, 1, "micro_batch_size: is 1"),
        (3, 2, "micro_batch_size: is 2"),
        (4, 2, None),
        (4, 3, None),
        (2, 64, None),
    ],
)
def test_parts_of_one_image_that_ends_as_one_pixel_are_refused(
    batch_size: int, micro_batch_size: int | None, key: str | None
) -> None:
    sizes = {"batch_size": batch_size, "micro_batch_size": micro_batch_size}
    model = {"name": "d2l_resnet18"}
    load({"model": model} | sizes)  # of 32 pixels, 4 are left
    tiny = {"model": model, "progressive_resizing": [{"until": 0.5, "scale": 0.25}]} | sizes
    if key is None:
        load(tiny)
        return
    with refused(f"override: {key}, but must be more: d2l_resnet18 reduces images"):
        load(tiny)


def test_the_message_names_the_recipe_or_the_override_whichever_has_the_key(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("augmentation: {cutout: 40, mixup: 1}\n")
    with refused(f"{path}: augmentation.cutout: is 40"):
        load({"epochs": 2, "augmentation": {"mixup": 0}}, recipe=str(path))
    with refused("override: augmentation.cutout: is 50"):
        load({"augmentation": {"cutout": 50}}, recipe=str(path))
    with refused("override: augmentation.cutout: is 60"):
        load({"augmentation": "{cutout: 60}"}, recipe=str(path))
    load({"augmentation": {"cutout": 0}}, recipe=str(path))


def model_of(library: str, architecture: str = "resnet18") -> dict[str, Any]:
    return {"model": {"name": library, "architecture": architecture}}


def test_an_unknown_architecture_is_refused() -> None:
    load(model_of("torchvision"))
    with refused("override: model.architecture: torchvision has no 'resnet81'", "'resnet18'?"):
        load(model_of("torchvision", "resnet81"))
    # Its networks for other tasks are known to neither the job nor this.
    with refused("torchvision has no 'fasterrcnn_resnet50_fpn'"):
        load(model_of("torchvision", "fasterrcnn_resnet50_fpn"))


def test_a_tag_of_timm_names_weights() -> None:
    tagged = model_of("timm", "resnet50.a1_in1k")["model"]
    load({"model": {**tagged, "weights": "pretrained"}})
    with refused("override: model.architecture: is resnet50.a1_in1k, which names weights of res"):
        load({"model": tagged})
    for library, architecture in (("torchvision", "resnet50.a1"), ("timm", "resnet50./../a")):
        with refused(f"override: model.architecture: {library} has no '{architecture}'"):
            load({"model": {**model_of(library, architecture)["model"], "weights": "pretrained"}})


def test_a_missing_library_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with refused("override: model.name: timm is not installed; run `pip install timm`"):
        load(model_of("timm"))
    # Where PyTorch is missing, too, the jobs have an environment of their own.
    monkeypatch.setitem(sys.modules, "torch", None)
    load(model_of("timm"))


def test_a_library_in_which_no_names_are_found_is_left_to_the_job(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recipe_checks, "known_architectures", lambda _: frozenset())
    load(model_of("torchvision", "resnet81"))


WEIGHTS_BESIDE = {"name": "timm", "weights": "pretrained"}


@pytest.mark.parametrize(
    ("right", "wrong", "words"),
    [
        (
            {"model": {"name": "timm", "stem": "small"}},
            {"model": {**WEIGHTS_BESIDE, "stem": "small"}},
            ["model.stem: is small, but must be original with weights", "weights: null"],
        ),
        (
            {"model": WEIGHTS_BESIDE, "fine_tune": {}},
            {"model": {"name": "timm"}, "fine_tune": {}},
            ["fine_tune: needs a network with pretrained weights; set model.weights, or"],
        ),
        (
            {"model": {"name": "d2l_resnet18"}, "fine_tune": None},
            {"model": {"name": "d2l_resnet18"}, "fine_tune": {}},
            ["fine_tune: needs", "set model.weights of a torchvision or timm network, or"],
        ),
        (
            {"model": {"name": "timm", "weights": "pretrained"}},
            {"model": {"name": "timm", "weights": "Pretraind"}},
            [
                "is 'Pretraind', but must be pretrained, the path of a file, or {url",
                "'pretrained'?",
            ],
        ),
        (
            {"model": {"name": "timm", "weights": {"url": "http://a/b", "sha256": 64 * "0"}}},
            {"model": {"name": "timm", "weights": {"url": "http://a/b", "sha256": "0"}}},
            ["model.weights.sha256"],
        ),
    ],
    ids=lambda _: "",
)
def test_weights_that_do_not_suit_the_recipe_are_refused(
    right: dict[str, Any], wrong: dict[str, Any], words: list[str]
) -> None:
    load(right)
    with refused("override: ", *words):
        load(wrong)


@pytest.mark.parametrize("name", ["linear", "mlp", "knn"])
def test_a_model_on_frozen_features_needs_a_network_and_takes_no_key_without_effect(
    tmp_path: Path, name: str
) -> None:
    empty = tmp_path / "empty.yaml"
    empty.write_text("{}")
    own = str(empty)
    load({"model": {"name": name}, "image_size": 96, "fit": "crop", "precision": "fp32"}, own)
    with refused(f"override: model.on.weights: is null, but {name} needs a pretrained network"):
        load({"model": {"name": name, "on": {"weights": None}}}, own)
    with refused("override: model.on.weights: is 'imagenet'"):
        load({"model": {"name": name, "on": {"weights": "imagenet"}}}, own)
    with refused("override: model.on.architecture: torchvision has no 'resnet81'"):
        load({"model": {"name": name, "on": {"name": "torchvision", "architecture": "resnet81"}}})
    for key, value in {
        "augmentation": {"horizontal_flip": True},
        "progressive_resizing": [{"until": 0.5, "scale": 0.5}],
        "fine_tune": {},
        "freeze": [{"parameters": "a", "after": 0}],
        "micro_batch_size": 8,
        "compile": True,
        "test_time_augmentation": "flip",
    }.items():
        with refused(f"override: {key}: does not apply to {name}", "start from recipe=probe"):
            load({"model": {"name": name}, key: value}, own)
    for key, value in {
        "epochs": 3,
        "optimizer": {"lr": 1},
        "schedule": {"name": "cosine"},
        "averaging": {"name": "ema"},
    }.items():
        if name == "mlp":
            load({"model": {"name": name}, key: value}, own)
            continue
        with refused(f"override: {key}: does not apply to {name}, which is not trained step by"):
            load({"model": {"name": name}, key: value}, own)
    smoothed = {"model": {"name": name}, "loss": {"label_smoothing": 0.1}}
    if name == "knn":
        with refused("override: loss: does not apply to knn"):
            load(smoothed, own)
    else:
        load(smoothed, own)
    # Of a recipe whose model alone is changed, the recipe is named.
    with refused("fast.yaml: augmentation: does not apply to"):
        load({"model": {"name": name}}, "fast")


def test_a_file_of_weights_that_is_not_there_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    model = model_options({"name": "timm", "architecture": "resnet18", "weights": str(path)})
    features = model_options({"name": "linear", "on": {"weights": str(path)}})
    check_weights_file(model_options({"name": "timm", "weights": "pretrained"}))
    check_weights_file(model_options({"name": "d2l_resnet18"}))
    with refused(f"model.weights: there is no file {path}; put the weights of timm's resnet18"):
        check_weights_file(model)
    with refused(f"model.on.weights: there is no file {path}; put", "timm's tf_efficientnet_lite0"):
        check_weights_file(features)
    path.mkdir()
    with refused(f"model.weights: {path} is a folder; name the file in it"):
        check_weights_file(model)
    path.rmdir()
    path.touch()
    check_weights_file(model)
    check_weights_file(features)
