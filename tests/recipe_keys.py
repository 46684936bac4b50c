"""Every key of a recipe, with a value that is not the one of the recipe `fast`."""

from typing import Any

import yaml

# key of a recipe: another value than that of `fast`. All of them concern the training.
RECIPE_TABLE: dict[str, str] = {
    "model.name": "d2l_resnet18",
    "model.architecture": "resnet34",
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
    "augmentation.random_crop_padding": "1",
    "augmentation.horizontal_flip": "false",
    "augmentation.alternating_flip": "false",
    "augmentation.color_jitter.brightness": "0.1",
    "augmentation.color_jitter.contrast": "0.1",
    "augmentation.color_jitter.saturation": "0.1",
    "augmentation.color_jitter.hue": "0.1",
    "augmentation.cutout": "4",
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
    "optimizer.ns_steps": "5",
    "optimizer.rest.lr": "0.04",
    "optimizer.rest.head_lr": "0.5",
    "optimizer.rest.momentum": "0.8",
    "schedule.name": "step",
    "schedule.period": "2",
    "schedule.decay": "0.7",
    "schedule.warmup": "0.1",
    "freeze.parameters": "[{parameters: features.0, after: 0.5}]",
    "freeze.after": "[{parameters: features, after: 0.6}]",
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
    "model.width": "small_cnn",
    "model.depth": "wide_resnet",
    "model.widening_factor": "wide_resnet",
    "optimizer.nesterov": "sgd",
    "schedule.period": "step",
    "schedule.decay": "step",
    "averaging.decay": "ema",
    "averaging.every": "ema",
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
    return change
