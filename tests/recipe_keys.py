"""Every key of a recipe, with a value that is not the one of the recipe `fast`."""

from typing import Any

import yaml

from imagepipe.config.configuration import merge

# key of a recipe: another value than that of `fast`. All of them concern the training.
RECIPE_TABLE: dict[str, str] = {
    "model.name": "d2l_resnet18",
    "model.architecture": "resnet34",
    "model.weights.url": "http://127.0.0.1/b",
    "model.weights.sha256": 64 * "1",
    "model.stem": "small",
    "model.hidden_units": "7",
    "model.drop_path": "0.1",
    "model.on.name": "torchvision",
    "model.on.architecture": "resnet34",
    "model.on.weights.url": "http://127.0.0.1/b",
    "model.on.weights.sha256": 64 * "1",
    "model.on.flip": "true",
    "model.l2": "0.1",
    "model.dropout": "0.1",
    "model.neighbors": "3",
    "model.temperature": "0.1",
    "model.width": "3",
    "model.widths": "[2, 2, 2]",
    "model.convolutions": "3",
    "model.activation": "gelu",
    "model.pooling": "max",
    "model.whitening_epsilon": "0.02",
    "model.depth": "16",
    "model.widening_factor": "2",
    "image_size": "24",
    "fit": "crop",
    "augmentation.random_resized_crop.resize": "36",
    "augmentation.random_resized_crop.min_area": "0.5",
    "augmentation.random_resized_crop.max_area": "0.9",
    "augmentation.random_resized_crop.max_ratio": "1.3",
    "augmentation.random_crop_padding": "1",
    "augmentation.horizontal_flip": "false",
    "augmentation.alternating_flip": "false",
    "augmentation.vertical_flip": "true",
    "augmentation.affine.degrees": "15",
    "augmentation.affine.translate": "0.1",
    "augmentation.affine.min_scale": "0.9",
    "augmentation.affine.max_scale": "1.1",
    "augmentation.affine.shear": "5",
    "augmentation.trivial_augment": "true",
    "augmentation.rand_augment.operations": "3",
    "augmentation.rand_augment.magnitude": "5",
    "augmentation.color_jitter.brightness": "0.1",
    "augmentation.color_jitter.contrast": "0.1",
    "augmentation.color_jitter.saturation": "0.1",
    "augmentation.color_jitter.hue": "0.1",
    "augmentation.cutout": "4",
    "augmentation.random_erasing.probability": "0.5",
    "augmentation.random_erasing.min_area": "0.1",
    "augmentation.random_erasing.max_area": "0.2",
    "augmentation.random_erasing.max_ratio": "2",
    "augmentation.mixup": "0.2",
    "augmentation.cutmix": "1",
    "progressive_resizing.until": "[{until: 0.3, scale: 0.625}]",
    "progressive_resizing.scale": "[{until: 0.375, scale: 0.5}]",
    "batch_size": "5",
    "micro_batch_size": "3",
    "min_steps_per_epoch": "2",
    "sampling": "balanced",
    "drop_last": "false",
    "epochs": "3",
    "optimizer.name": "sgd",
    "optimizer.lr": "0.011",
    "optimizer.momentum": "0.8",
    "optimizer.nesterov": "true",
    "optimizer.weight_decay": "0.003",
    "optimizer.decay_norms_and_biases": "false",
    "optimizer.ns_steps": "5",
    "optimizer.rest.lr": "0.04",
    "optimizer.rest.head_lr": "0.5",
    "optimizer.rest.momentum": "0.8",
    "schedule.name": "step",
    "schedule.period": "2",
    "schedule.decay": "0.7",
    "schedule.warmup": "0.1",
    "fine_tune.linear_probe": "true",
    "fine_tune.frozen_epochs": "2",
    "fine_tune.lr_decay_by_layer": "0.7",
    "fine_tune.head_lr": "0.3",
    "fine_tune.keep_statistics": "false",
    "freeze.parameters": "[{parameters: features.0, after: 0.5}]",
    "freeze.after": "[{parameters: features, after: 0.6}]",
    "gradient_clipping": "1",
    "averaging.name": "ema",
    "averaging.decay": "0.5",
    "averaging.every": "3",
    "loss.reduction": "mean",
    "loss.label_smoothing": "0.3",
    "loss.focal_gamma": "2",
    "loss.class_weights": "balanced",
    "precision": "fp32",
    "tf32": "true",
    "deterministic": "false",
    "compile": "true",
    "test_time_augmentation": "none",
}
OTHER_RECIPE_KEYS = {"title", "members"}
# The kinds of sections to which keys belong that `fast` does not have.
KINDS = {
    "model.architecture": "torchvision",
    "model.stem": "timm",
    "model.hidden_units": "timm",
    "model.drop_path": "timm",
    "model.l2": "linear",
    "model.dropout": "mlp",
    "model.neighbors": "knn",
    "model.temperature": "knn",
    "model.width": "small_cnn",
    "model.depth": "wide_resnet",
    "model.widening_factor": "wide_resnet",
    "optimizer.nesterov": "sgd",
    "optimizer.decay_norms_and_biases": "adamw",
    "schedule.period": "step",
    "schedule.decay": "step",
    "averaging.decay": "ema",
    "averaging.every": "ema",
}
WEIGHTS = {"url": "http://127.0.0.1/a", "sha256": 64 * "0"}
PRETRAINED = {"model": {"name": "timm", "weights": "pretrained"}}
ON_FEATURES = {"model": {"name": "linear"}}
# What a key needs beside it.
BESIDE: dict[str, dict[str, Any]] = {
    "model.weights.url": {"model": {"name": "timm", "weights": WEIGHTS}},
    "model.weights.sha256": {"model": {"name": "timm", "weights": WEIGHTS}},
    "model.on.name": {
        "model": {"name": "linear", "on": {"name": "torchvision", "architecture": "resnet18"}}
    },
    "model.on.architecture": ON_FEATURES,
    "model.on.flip": ON_FEATURES,
    "model.on.weights.url": {"model": {"name": "linear", "on": {"weights": WEIGHTS}}},
    "model.on.weights.sha256": {"model": {"name": "linear", "on": {"weights": WEIGHTS}}},
    **{key: PRETRAINED for key in RECIPE_TABLE if key.startswith("fine_tune.")},
}
# What `fast` has, and frozen features do not take.
WITHOUT_TRAINING: dict[str, Any] = {
    "augmentation": {"random_crop_padding": 0, "horizontal_flip": False, "alternating_flip": False},
    "progressive_resizing": [],
    **{"batch_size": 64, "micro_batch_size": None, "min_steps_per_epoch": 1, "epochs": 20},
    **{"optimizer": {"name": "sgd"}, "schedule": {"name": "step"}, "freeze": []},
    "loss": {"reduction": "mean", "label_smoothing": 0},
    "test_time_augmentation": "none",
}
# A list is given whole: the table has another one for each key of its items.
RECIPE_LISTS = ("progressive_resizing", "freeze")


def changed_recipe(key: str) -> dict[str, Any]:
    """Return the change of one key, as `override` takes it."""
    names = key.split(".")
    *parents, last = names[:1] if names[0] in RECIPE_LISTS else names
    change: dict[str, Any] = {last: yaml.safe_load(RECIPE_TABLE[key])}
    if key in KINDS:
        change["name"] = KINDS[key]
    for parent in reversed(parents):
        change = {parent: change}
    change = merge(BESIDE.get(key, {}), change)
    if change.get("model", {}).get("name") in ("linear", "mlp", "knn"):
        change = merge(WITHOUT_TRAINING, change)
    return change
