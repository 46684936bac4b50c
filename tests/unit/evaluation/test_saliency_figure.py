"""The figure shows the right images, classes and places."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from evaluation_builders import drawn_evaluation, shown_texts
from figure_reading import check_readable
from imagepipe.display.figures import styled
from imagepipe.evaluation.evaluation_file import Evaluation, Prediction
from imagepipe.evaluation.saliency_figure import (
    MAX_IMAGES,
    Explained,
    choose_explained,
    draw_saliency,
    spotlight,
)


@pytest.fixture(autouse=True)
def in_style() -> Iterator[None]:
    with styled():
        yield


def evaluation_of(*predictions: tuple[str, str], several: bool = False) -> Evaluation:
    """Return results with mistakes and hits, given as true and predicted label."""
    mistakes, hits = [], []
    for number, (true, predicted) in enumerate(predictions):
        one = Prediction(f"id{number}", number, true, predicted, 0.75, 0.25)
        (hits if true == predicted else mistakes).append(one)
    evaluation = drawn_evaluation(10, ["cat", "dog", "frog"], several_labels=several)
    return replace(evaluation, mistakes=mistakes, unsure_hits=hits)


def classes(evaluation: Evaluation) -> list[tuple[str | None, str | None]]:
    return [(one.predicted, one.missed) for one in choose_explained(evaluation)]


def test_mistakes_come_first_and_hits_fill_up() -> None:
    evaluation = evaluation_of(("cat", "cat"), ("cat", "dog"), ("frog", "cat"))
    assert classes(evaluation) == [("dog", "cat"), ("cat", "frog"), ("cat", None)]
    assert [one.prediction.row for one in choose_explained(evaluation)] == [1, 2, 0]
    many = drawn_evaluation(500, 4, skill=1.0)
    assert [one.prediction for one in choose_explained(many)] == many.mistakes[:MAX_IMAGES]


def test_the_wrong_ones_of_several_labels() -> None:
    pairs = (
        ("cat|dog", "cat|frog"),
        ("cat|dog", "cat"),
        ("", "frog"),
        ("dog", ""),
        ("cat|dog", "cat|dog"),
        ("", ""),
    )
    assert classes(evaluation_of(*pairs, several=True)) == [
        ("frog", "dog"),
        (None, "dog"),
        ("frog", None),
        (None, "dog"),
        ("cat", None),
        (None, None),
    ]


def test_a_single_label_may_have_the_separator() -> None:
    assert classes(evaluation_of(("a|b", "a"))) == [("a", "a|b")]


def drawn(
    explained: list[Explained], folder: Path, method: str = "occlusion", *, several: bool = False
) -> tuple[list[np.ndarray], list[str]]:
    """Return the pictures and the texts of the figure of bright images with heat at the left."""
    images = np.full((len(explained), 8, 12, 3), (250, 200, 50), np.uint8)
    heat = np.zeros((len(explained), 2, 8, 8), np.float32)
    heat[:, 0, :, :2] = 1.0
    heat[:, 1, :, 6:] = 1.0
    figure = draw_saliency(explained, images, heat, method, several_labels=several)
    check_readable(figure)
    pictures = [np.asarray(axes.images[0].get_array()) for axes in figure.axes]
    return pictures, shown_texts(figure, folder)


@pytest.mark.parametrize("method", ["occlusion", "Grad-CAM"])
def test_pictures_and_captions(method: str, tmp_path: Path) -> None:
    explained = choose_explained(evaluation_of(("cat", "dog"), ("frog", "frog")))
    pictures, texts = drawn(explained, tmp_path, method)
    (image, predicted, true), (_, right, nothing) = pictures[:3], pictures[3:]
    assert (image == (250, 200, 50)).all()
    assert nothing.shape[2] == 4
    assert not nothing.any()
    # The picture's color is kept where the heat is, and on the other side it is gone.
    for picture, side in ((predicted, 0), (true, -1), (right, 0)):
        lit, dark = picture[0, side].astype(int), picture[0, -1 - side].astype(int)
        assert lit.tolist() == [250, 200, 50]
        assert dark.max() - dark.min() <= 1
        assert dark.max() < 128
    shown = ["cat", "id id0", "dog", "75 %", "cat", "25 %", "frog", "id id1", "frog", "75 %"]
    position = texts.index("cat")
    assert texts[position : position + len(shown)] == shown
    assert any(method in text for text in texts)


def test_several_labels_have_no_probability_of_their_own(tmp_path: Path) -> None:
    explained = choose_explained(evaluation_of(("cat|dog", "cat|frog"), ("", ""), several=True))
    _, texts = drawn(explained, tmp_path, several=True)
    assert {"wrong label", "missing label", "cat + dog", "frog", "dog", "(no label)"} <= set(texts)
    assert not any("%" in text for text in texts)


def test_no_heat_is_said(tmp_path: Path) -> None:
    (one,) = choose_explained(evaluation_of(("cat", "dog")))
    heat = np.zeros((1, 2, 8, 8), np.float32)
    figure = draw_saliency(
        [one], np.zeros((1, 8, 8, 3), np.uint8), heat, "occlusion", several_labels=False
    )
    assert shown_texts(figure, tmp_path).count("75 %, seen nowhere") == 1


def test_titles_tell_what_is_shown(tmp_path: Path) -> None:
    for pairs, words in (
        ([("cat", "dog")], "surest mistakes"),
        ([("cat", "dog"), ("cat", "cat")], "surest mistakes, least sure hits"),
        ([("cat", "cat")], "least sure hits"),
    ):
        _, texts = drawn(choose_explained(evaluation_of(*pairs)), tmp_path)
        assert any(text.endswith(words) for text in texts), words


def test_strange_and_long_names_stay_in_their_place(tmp_path: Path) -> None:
    names = ["$x^2$", "<b>&amp;</b>", "a\nb", "W" * 300, "قط", "\x1b[31m"]
    pairs = list(zip(names, reversed(names), strict=True))
    drawn(choose_explained(evaluation_of(*pairs)), tmp_path)


@pytest.mark.parametrize(("height", "width"), [(24, 24), (32, 20), (96, 128), (375, 500)])
def test_the_line_is_where_the_heat_is_half(height: int, width: int) -> None:
    image = np.full((height, width, 3), (90, 120, 60), np.uint8)
    heat = np.zeros((16, 16), np.float32)
    heat[4:12, 4:12] = 1.0
    picture = spotlight(image, heat)
    assert 150 <= max(picture.shape[:2]) <= 192
    assert picture.shape[0] / picture.shape[1] == pytest.approx(height / width, rel=0.02)
    rows, columns = np.nonzero((picture == 255).all(axis=2))
    for found, size in ((rows, picture.shape[0]), (columns, picture.shape[1])):
        assert found.min() == pytest.approx(size / 4, abs=3)
        assert found.max() == pytest.approx(3 * size / 4, abs=3)
    assert (picture[picture.shape[0] // 2, picture.shape[1] // 2] == (90, 120, 60)).all()
