"""The figure of the augmentation shows the examples, and is small."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_image

from evaluation_builders import shown_texts
from figure_reading import check_readable
from imagepipe.config.recipe import Recipe
from imagepipe.display.figures import styled
from imagepipe.evaluation.augmentation_examples import Example, Variant
from imagepipe.evaluation.augmentation_figure import draw_augmentation_examples
from training_builders import complete_recipe

FLIPS: dict[str, Any] = {"augmentation": {"horizontal_flip": True}, "epochs": 8}


@pytest.fixture(autouse=True)
def in_style() -> Iterator[None]:
    with styled():
        yield


def picture(value: int, height: int = 8, width: int = 12) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def drawn(
    examples: list[Example], labels: list[str], recipe: Recipe, folder: Path
) -> tuple[list[np.ndarray], list[str]]:
    """Return the pictures and the texts of the figure."""
    figure = draw_augmentation_examples(examples, labels, recipe)
    check_readable(figure)
    pictures = [np.asarray(axes.images[0].get_array()) for axes in figure.axes]
    return pictures, shown_texts(figure, folder)


def test_each_epoch_has_a_column(tmp_path: Path) -> None:
    examples = [
        Example(row, picture(row), [Variant(picture(row + epoch)) for epoch in (100, 110, 120)])
        for row in (5, 7)
    ]
    labels = [f"class {row}" for row in range(10)]
    pictures, texts = drawn(examples, labels, complete_recipe(**FLIPS), tmp_path)
    assert [one[0, 0, 0] for one in pictures] == [5, 105, 115, 125, 7, 107, 117, 127]
    assert {"original", "epoch 1", "epoch 2", "epoch 8", "class 5", "class 7"} <= set(texts)
    assert "augmentation: {horizontal_flip: true}" in texts


def test_mixed_images_have_the_shares_of_both(tmp_path: Path) -> None:
    variants = [Variant(picture(1), 2, 0.704), None, Variant(picture(1), 1, 0.5)]
    recipe = complete_recipe(augmentation={"mixup": 0.4}, epochs=8)
    pictures, texts = drawn(
        [Example(0, picture(0), variants)], ["cat", "(no label)", "dog"], recipe, tmp_path
    )
    position = texts.index("70 % cat")
    assert texts[position : position + 2] == ["70 % cat", "30 % dog"]
    assert "50 % (no label)" in texts
    assert "not in this epoch" in texts
    assert not pictures[2].any()


def test_smaller_images_are_drawn_smaller(tmp_path: Path) -> None:
    recipe = complete_recipe(
        **FLIPS | {"progressive_resizing": [{"until": 0.3, "scale": 0.5}]},
    )
    variants = [Variant(picture(90, 4, 6)), Variant(picture(90, 4, 6)), Variant(picture(90))]
    pictures, texts = drawn([Example(0, picture(0), variants)], ["cat"], recipe, tmp_path)
    small, full = pictures[1], pictures[3]
    assert small.shape == (8, 12, 4)
    rows, columns = np.nonzero(small[..., 3])
    assert (set(rows), set(columns)) == (set(range(2, 6)), set(range(3, 9)))
    assert full.shape == (8, 12, 3)
    assert "epoch 1: 4 × 6 pixels (progressive_resizing)" in texts
    assert not any(text.startswith("epoch 8:") for text in texts)


@pytest.mark.parametrize("epochs", [1, 2])
def test_short_trainings(epochs: int, tmp_path: Path) -> None:
    variants: list[Variant | None] = [Variant(picture(9))] * epochs
    recipe = complete_recipe(**FLIPS | {"epochs": epochs})
    pictures, texts = drawn([Example(0, picture(8), variants)] * 2, ["cat"], recipe, tmp_path)
    assert sum(one.shape[2] == 3 for one in pictures) == 2 * (1 + epochs)
    assert f"epoch {epochs}" in texts
    assert f"epoch {epochs + 1}" not in texts


def test_without_augmentation_there_are_only_originals(tmp_path: Path) -> None:
    examples = [Example(row, picture(row), [Variant(picture(99))] * 3) for row in range(7)]
    labels = [f"class {row}" for row in range(7)]
    pictures, texts = drawn(examples, labels, complete_recipe(epochs=8), tmp_path)
    assert [one[0, 0, 0] for one in pictures] == list(range(7))
    assert any("no augmentation" in text for text in texts)
    assert set(labels) <= set(texts)


def test_strange_and_long_names_stay_in_their_place(tmp_path: Path) -> None:
    labels = ["$x^2$", "<b>&amp;</b>", "a\nb", "W" * 300, "قط", "\x1b[31m"]
    examples = [
        Example(row, picture(row), [Variant(picture(1), 5 - row, 0.5)] * 3) for row in range(6)
    ]
    everything = {
        "random_resized_crop": {"resize": 40},
        "random_crop_padding": 1,
        "horizontal_flip": True,
        "alternating_flip": True,
        "color_jitter": {"brightness": 0.1, "contrast": 0.1, "saturation": 0.1, "hue": 0.02},
        "cutout": 2,
        "cutmix": 1.0,
    }
    drawn(examples, labels, complete_recipe(augmentation=everything, epochs=8), tmp_path)


@pytest.mark.parametrize("scale", [1.0, 0.75])
def test_photos_make_a_small_file(scale: float, tmp_path: Path) -> None:
    photos = [Image.fromarray(load_sample_image(f"{name}.jpg")) for name in ("china", "flower")]

    def photo(number: int, scale: float = 1.0) -> np.ndarray:
        corner = 7 * number
        cut = photos[number % 2].crop((corner, corner, corner + 300, corner + 225))
        return np.asarray(cut.resize((round(500 * scale), round(375 * scale))))

    examples = [
        Example(
            row,
            photo(4 * row),
            [
                Variant(photo(4 * row + 1, scale)),
                Variant(photo(4 * row + 2, scale)),
                Variant(photo(4 * row + 3)),
            ],
        )
        for row in range(10)
    ]
    drawn(examples, ["dog"] * 10, complete_recipe(**FLIPS), tmp_path)
    assert (tmp_path / "figure.svg").stat().st_size < 400_000
