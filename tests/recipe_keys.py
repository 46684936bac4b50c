"""Every key of a recipe, with a change of the recipe `fast` that sets it to another value."""

from typing import Any

import yaml

# key of a recipe: an override of `fast`. All of them concern the training.
RECIPE_TABLE: dict[str, str] = {
    "model.name": "{model: {name: d2l_resnet18}}",
    "model.architecture": "{model: {architecture: resnet34, name: torchvision}}",
    "model.width": "{model: {name: small_cnn, width: 3}}",
    "model.widths": "{model: {widths: [2, 2, 2]}}",
    "model.convolutions": "{model: {convolutions: 3}}",
    "model.activation": "{model: {activation: gelu}}",
    "model.pooling": "{model: {pooling: max}}",
    "model.whitening_epsilon": "{model: {whitening_epsilon: 0.02}}",
    "model.depth": "{model: {depth: 16, name: wide_resnet}}",
    "model.widening_factor": "{model: {name: wide_resnet, widening_factor: 2}}",
    "augmentation.random_resized_crop.resize": "{augmentation: {random_resized_crop: {resize: 36}}}",
    "augmentation.random_resized_crop.min_area": "{augmentation: {random_resized_crop: {min_area: 0.5}}}",
    "augmentation.random_resized_crop.max_area": "{augmentation: {random_resized_crop: {max_area: 0.9}}}",
    "augmentation.random_crop_padding": "{augmentation: {random_crop_padding: 1}}",
    "augmentation.horizontal_flip": "{augmentation: {horizontal_flip: false}}",
    "augmentation.alternating_flip": "{augmentation: {alternating_flip: false}}",
    "augmentation.color_jitter.brightness": "{augmentation: {color_jitter: {brightness: 0.1}}}",
    "augmentation.color_jitter.contrast": "{augmentation: {color_jitter: {contrast: 0.1}}}",
    "augmentation.color_jitter.saturation": "{augmentation: {color_jitter: {saturation: 0.1}}}",
    "augmentation.color_jitter.hue": "{augmentation: {color_jitter: {hue: 0.1}}}",
    "augmentation.cutout": "{augmentation: {cutout: 4}}",
    "augmentation.mixup": "{augmentation: {mixup: 0.2}}",
    "augmentation.cutmix": "{augmentation: {cutmix: 1}}",
    "progressive_resizing.until": "{progressive_resizing: [{scale: 0.625, until: 0.3}]}",
    "progressive_resizing.scale": "{progressive_resizing: [{scale: 0.5, until: 0.375}]}",
    "batch_size": "{batch_size: 5}",
    "micro_batch_size": "{micro_batch_size: 3}",
    "min_steps_per_epoch": "{min_steps_per_epoch: 2}",
    "drop_last": "{drop_last: false}",
    "epochs": "{epochs: 3}",
    "optimizer.name": "{optimizer: {name: sgd}}",
    "optimizer.lr": "{optimizer: {lr: 0.011}}",
    "optimizer.momentum": "{optimizer: {momentum: 0.8}}",
    "optimizer.nesterov": "{optimizer: {name: sgd, nesterov: true}}",
    "optimizer.weight_decay": "{optimizer: {weight_decay: 0.003}}",
    "optimizer.ns_steps": "{optimizer: {ns_steps: 5}}",
    "optimizer.rest.lr": "{optimizer: {rest: {lr: 0.04}}}",
    "optimizer.rest.head_lr": "{optimizer: {rest: {head_lr: 0.5}}}",
    "optimizer.rest.momentum": "{optimizer: {rest: {momentum: 0.8}}}",
    "schedule.name": "{schedule: {name: step}}",
    "schedule.period": "{schedule: {name: step, period: 2}}",
    "schedule.decay": "{schedule: {decay: 0.7, name: step}}",
    "schedule.warmup": "{schedule: {warmup: 0.1}}",
    "freeze.parameters": "{freeze: [{after: 0.5, parameters: features.0}]}",
    "freeze.after": "{freeze: [{after: 0.6, parameters: features}]}",
    "averaging.name": "{averaging: {name: ema}}",
    "averaging.decay": "{averaging: {decay: 0.5, name: ema}}",
    "averaging.every": "{averaging: {every: 3, name: ema}}",
    "loss.reduction": "{loss: {reduction: mean}}",
    "loss.label_smoothing": "{loss: {label_smoothing: 0.3}}",
    "precision": "{precision: fp32}",
    "tf32": "{tf32: true}",
    "deterministic": "{deterministic: false}",
    "compile": "{compile: true}",
    "test_time_augmentation": "{test_time_augmentation: none}",
}
OTHER_RECIPE_KEYS = {"title", "members"}


def changed_recipe(key: str) -> dict[str, Any]:
    """Return the change of one key, as `override` takes it."""
    change: dict[str, Any] = yaml.safe_load(RECIPE_TABLE[key])
    return change
