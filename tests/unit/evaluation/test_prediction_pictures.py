"""The figures of mistakes and unsure hits show the right pictures, labels and probabilities."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from evaluation_builders import ACCURACY, drawn_evaluation, drawn_predictions, shown_texts
from imagepipe.display.figures import styled
from imagepipe.evaluation.evaluation_file import Evaluation, label_words
from imagepipe.evaluation.prediction_pictures import draw_mistakes, draw_unsure_hits
from imagepipe.evaluation.validation_results import evaluate


@pytest.fixture(autouse=True)
def in_style() -> Iterator[None]:
    with styled():
        yield


def packed(images: int) -> np.ndarray:
    """Return images uint8 [N, 4, 6, 3] of which each has its own color."""
    colors = np.arange(images * 3).reshape(images, 1, 1, 3) % 251
    return np.broadcast_to(colors, (images, 4, 6, 3)).astype(np.uint8)


@pytest.mark.parametrize("several", [False, True])
def test_pictures_labels_and_probabilities(several: bool, tmp_path: Path) -> None:
    predictions, labels = drawn_predictions(80, ["cat", "dog"], several_labels=several, skill=1.0)
    rows = list(range(200, 40, -2))
    evaluation = evaluate(predictions, labels, rows, ACCURACY)
    images = packed(201)
    for draw, shown in (
        (draw_mistakes, evaluation.mistakes),
        (draw_unsure_hits, evaluation.unsure_hits),
    ):
        figure = draw(evaluation, images)
        texts = shown_texts(figure, tmp_path)
        assert len(figure.axes) == len(shown) == 12
        for axes, one in zip(figure.axes, shown, strict=True):
            assert (np.asarray(axes.images[0].get_array()) == images[one.row]).all()
            assert one.id in texts
            arrow = "→ " if draw is draw_mistakes else ""
            predicted = label_words(one.predicted, several=several)
            assert f"{arrow}{predicted}, {100 * one.probability:.0f} %" in texts
            assert draw is draw_unsure_hits or label_words(one.true, several=several) in texts


def title(evaluation: Evaluation, folder: Path) -> tuple[str, str]:
    """Return all words of each figure."""
    images = packed(evaluation.images)
    figures = draw_mistakes(evaluation, images), draw_unsure_hits(evaluation, images)
    one, other = (" ".join(shown_texts(figure, folder)) for figure in figures)
    return one, other


def test_titles_tell_how_many_there_are(tmp_path: Path) -> None:
    evaluation = drawn_evaluation(500, 4, skill=1.0)
    mistakes, hits = title(evaluation, tmp_path)
    assert mistakes.startswith(f"The surest 12 of {evaluation.mistake_count} mistakes: true → ")
    assert hits.startswith(f"The least sure 12 of {500 - evaluation.mistake_count} right")


def test_few_of_them_are_all(tmp_path: Path) -> None:
    evaluation = drawn_evaluation(9, 3, skill=1.0)
    assert evaluation.mistake_count == len(evaluation.mistakes) == 3
    mistakes, hits = title(evaluation, tmp_path)
    assert mistakes.startswith("All 3 mistakes: true → predicted")
    assert hits.startswith("All 6 right predictions")


def test_no_mistakes_are_one_sentence(tmp_path: Path) -> None:
    mistakes, hits = title(drawn_evaluation(40, 3, skill=99.0), tmp_path)
    assert "The model is right on all 40 validation images" in mistakes
    assert hits.startswith("The least sure 12 of 40 right predictions")


def test_no_hits_are_one_sentence(tmp_path: Path) -> None:
    mistakes, hits = title(drawn_evaluation(40, 3, skill=-99.0), tmp_path)
    assert mistakes.startswith("The surest 12 of 40 mistakes")
    assert "The model is wrong on all 40 validation images." in hits


def test_a_single_image(tmp_path: Path) -> None:
    mistakes, hits = title(drawn_evaluation(1, 3, skill=99.0), tmp_path)
    assert "The model is right on the only validation image" in mistakes
    assert hits.startswith("The only right prediction")
    mistakes, hits = title(drawn_evaluation(1, 3, skill=-99.0), tmp_path)
    assert mistakes.startswith("The only mistake: true → predicted")
    assert "The model is wrong on the only validation image." in hits


def test_strange_names_keep_their_probability(tmp_path: Path) -> None:
    names = ["$x^2$", "<b>&amp;</b>", "a\nb", "W" * 300, "قط", "😀", "\x1b[31m"]
    evaluation = drawn_evaluation(200, names, skill=0.5)
    texts = shown_texts(draw_mistakes(evaluation, packed(200)), tmp_path)
    percents = [text.split(", ")[-1] for text in texts if text.startswith("→ ")]
    assert percents == [f"{100 * one.probability:.0f} %" for one in evaluation.mistakes]
