"""The examples are what the training shows to its network, bit for bit."""

from typing import Any

import numpy as np
import pytest
import torch

from imagepipe.augmentation.resizing import resize_images
from imagepipe.evaluation.augmentation_examples import (
    Example,
    augmentation_examples,
    choose_examples,
    shown_epochs,
)
from imagepipe.training.loop import epoch_inputs
from imagepipe.training.state import TrainingData
from training_builders import (
    EVERYTHING,
    SOME_METRICS,
    UNEQUAL,
    build,
    complete_recipe,
    one_epoch,
    several_labels_data,
    spec_of,
    training_data,
)


def labels_of(data: TrainingData) -> list[str]:
    """Return the label of each image in words."""
    if data.labels.ndim == 1:
        return [f"class {label}" for label in data.labels]
    return ["|".join(f"class {i}" for i in np.flatnonzero(row)) for row in data.labels]


def examples_of(data: TrainingData, recipe: Any) -> list[Example]:
    spec = spec_of(recipe, several_labels=data.labels.ndim == 2)
    return augmentation_examples(data, spec, labels_of(data))


@pytest.mark.parametrize(
    "sections",
    [
        EVERYTHING,
        EVERYTHING | {"drop_last": False},
        UNEQUAL,
        {"augmentation": {"mixup": 0.4, "horizontal_flip": True, "alternating_flip": True}},
        {"augmentation": {"random_crop_padding": 2}},
    ],
    ids=["everything", "last batch", "balanced and enlarged", "mixup", "shift"],
)
@pytest.mark.parametrize("several", [False, True])
def test_variants_are_what_the_network_sees(sections: dict[str, Any], several: bool) -> None:
    recipe = complete_recipe(**sections, epochs=5)
    data = several_labels_data() if several else training_data()
    examples = examples_of(data, recipe)
    assert len(examples) == 10
    compared = 0
    for column, epoch in enumerate((0, 1, 4)):
        training, batches = one_epoch(data, recipe, epoch)
        del training.state.history[epoch:]
        # What the training feeds its steps with, as rows of the array.
        rows = [inputs[0] for inputs in epoch_inputs(training)]
        seen = torch.cat(rows).tolist()
        partners = torch.cat([batch.flip(0) for batch in rows]).tolist()
        pixels = [image for batch in batches for image in training.normalize.undo(batch)]
        for example in examples:
            variant = example.variants[column]
            assert (variant is None) == (example.row not in seen)
            if variant is None:
                continue
            position = seen.index(example.row)
            expected = pixels[position].permute(1, 2, 0).round().clamp(0, 255)
            assert variant.picture.tolist() == expected.tolist()
            if recipe.augmentation.mixup or recipe.augmentation.cutmix:
                assert variant.partner == partners[position]
                assert 0 <= variant.lam <= 1
            else:
                assert variant.partner is None
            compared += 1
    assert compared >= 10


def test_originals_are_training_images_as_the_network_gets_them() -> None:
    data = training_data()
    recipe = complete_recipe(**UNEQUAL)
    for example in examples_of(data, recipe):
        assert example.row in data.train_rows
        image = torch.from_numpy(data.images[[example.row]])
        expected = resize_images(image, [10, 12])[0].round()
        assert example.original.tolist() == expected.tolist()


def test_the_share_is_that_of_the_own_pixels() -> None:
    recipe = complete_recipe(augmentation={"cutmix": 1.0})
    data = training_data()
    for example in examples_of(data, recipe):
        for variant in example.variants:
            if variant is None:
                continue
            own = (variant.picture == example.original).all(axis=2).mean()
            assert own == pytest.approx(variant.lam, abs=0.05)


def test_an_image_that_an_epoch_leaves_out() -> None:
    recipe = complete_recipe(batch_size=30, epochs=2)
    data = training_data(train_images=36)
    shown = [example.variants for example in examples_of(data, recipe)]
    # There are enough that come in both epochs.
    assert all(variant is not None for variants in shown for variant in variants)
    training = build(complete_recipe(batch_size=4, epochs=2), training_data(train_images=5))
    seen = []
    for epoch in range(2):
        training.state.history.extend([SOME_METRICS] * (epoch - training.state.epoch))
        seen.append(torch.cat([inputs[0] for inputs in epoch_inputs(training)]).tolist())
    examples = examples_of(training.data, training.recipe)
    assert len(examples) == 5
    for example in examples:
        there = [variant is not None for variant in example.variants]
        assert there == [example.row in rows for rows in seen]
    assert not all(all(example.variants) for example in examples)


@pytest.mark.parametrize(
    ("epochs", "shown"), [(1, [0]), (2, [0, 1]), (3, [0, 1, 2]), (30, [0, 1, 29])]
)
def test_first_epochs_and_the_last(epochs: int, shown: list[int]) -> None:
    assert shown_epochs(epochs) == shown


def test_examples_are_of_different_classes() -> None:
    labels = [f"class {i % 10}" for i in range(100)]
    chosen = choose_examples(labels, np.ones(100, bool))
    assert chosen == list(range(10))
    labels = [f"{i // 2:03}" for i in range(240)]
    chosen = choose_examples(labels, np.ones(240, bool))
    assert [labels[i] for i in chosen] == [f"{i:03}" for i in range(0, 120, 12)]


def test_few_classes_have_several_examples() -> None:
    labels = ["b", "a", *["b"] * 20, "a", "c"]
    chosen = choose_examples(labels, np.ones(24, bool))
    assert chosen == [1, 22, 0, 2, 3, 4, 5, 6, 7, 23]
    assert choose_examples(["only"], np.ones(1, bool)) == [0]


def test_images_of_all_epochs_are_preferred() -> None:
    preferred = np.array([False, True, False, False])
    assert choose_examples(["a", "a", "b", "b"], preferred) == [1, 0, 2, 3]
    many = [f"{i % 10}" for i in range(20)]
    later = np.arange(20) >= 10
    assert choose_examples(many, later) == list(range(10, 20))
