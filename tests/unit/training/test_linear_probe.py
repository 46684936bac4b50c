"""The first head of a fine-tuning: a logistic regression on the pretrained network's features."""

import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from imagepipe.augmentation.resizing import resize_images
from imagepipe.config.recipe import Recipe
from imagepipe.errors import Stopped, UserError
from imagepipe.training import linear_probe
from imagepipe.training.linear_probe import start_from_linear_probe
from imagepipe.training.logistic_regression import fit_logistic_regression
from training_builders import assert_same_result, build, complete_recipe, train_in, undisturbed

RESNET = {"name": "timm", "architecture": "test_resnet"}


def recipe_of(model: dict[str, Any] = RESNET, **sections: Any) -> Recipe:
    fine_tune = {"linear_probe": True, "frozen_epochs": 0}
    return complete_recipe(model=model, image_size=32, fine_tune=fine_tune, **sections)


def test_the_head_is_the_logistic_regression_on_the_features_of_the_training_images() -> None:
    flip = {"horizontal_flip": True}
    training = build(recipe_of(augmentation=flip, averaging={"name": "ema", "every": 1}))
    before = {name: tensor.clone() for name, tensor in training.model.state_dict().items()}
    start_from_linear_probe(training, lambda: None)
    model: Any = training.model
    changed = {name for name, t in model.state_dict().items() if not torch.equal(t, before[name])}
    assert changed == {"fc.weight", "fc.bias"}
    assert model.training
    model.eval()
    rows = torch.from_numpy(training.data.train_rows)
    images = resize_images(torch.from_numpy(training.data.images)[rows], [32, 32])
    views = training.normalize(images.permute(0, 3, 1, 2))
    with torch.no_grad():
        features = [
            model.forward_head(model.forward_features(view), pre_logits=True)
            for view in (views, views.flip(-1))
        ]
    labels = training.labels[rows].repeat(2)
    weight, _ = fit_logistic_regression(
        torch.cat(features),
        labels,
        training.data.num_classes,
        l2=linear_probe.L2,
        loss=training.recipe.loss,
        class_weights=None,
        seed=training.spec.seed,
    )
    logits, expected = (torch.cat(features) @ w.T for w in (model.fc.weight.detach(), weight))
    # The folded network's features are rounded in another way, which the fit enlarges.
    torch.testing.assert_close(logits, expected, rtol=0.05, atol=0.05 * float(expected.std()))
    assert training.average is not None
    assert torch.equal(training.average.tensors["fc.weight"], model.fc.weight)


def test_a_network_without_a_single_linear_head_is_a_users_mistake() -> None:
    model = {"name": "torchvision", "architecture": "squeezenet1_1"}
    with pytest.raises(UserError, match=r"^recipe: fine_tune.linear_probe: .* set it to false"):
        start_from_linear_probe(build(recipe_of(model)), lambda: None)


def test_features_that_are_not_finite_are_a_users_mistake() -> None:
    training = build(recipe_of())
    torch.nn.init.constant_(training.model.get_parameter("conv1.0.weight"), float("nan"))
    with pytest.raises(UserError, match="features that are not finite; set override"):
        start_from_linear_probe(training, lambda: None)


def test_a_signal_during_the_probe_leaves_no_checkpoint_and_the_next_call_starts_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_of(epochs=1)
    whole = undisturbed(recipe)

    def stopped(*_: Any, stop_if_asked: Any, **__: Any) -> None:
        signal.raise_signal(signal.SIGTERM)
        stop_if_asked()

    with monkeypatch.context() as patch:
        patch.setattr(linear_probe, "fit_logistic_regression", stopped)
        with pytest.raises(Stopped, match="SIGTERM before the first epoch"):
            train_in(tmp_path, recipe)
    assert not list(tmp_path.rglob("checkpoint.pt"))
    assert_same_result(train_in(tmp_path, recipe), whole)
