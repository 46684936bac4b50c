"""The figure of confused classes shows the numbers, for few classes, many, and several labels."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from matplotlib.collections import PolyCollection

from evaluation_builders import drawn_evaluation, shown_texts
from imagepipe.display.figures import save_figure, styled
from imagepipe.evaluation.confusion_figure import draw_confusion
from imagepipe.evaluation.evaluation_file import Evaluation

STRANGE = ["$x^2$", "<b>&amp;</b>", "a\nb", "W" * 300, "قط عربي", "😀", "\x1b[31mred", "h"]


@pytest.fixture(autouse=True)
def in_style() -> Iterator[None]:
    with styled():
        yield


def with_counts(counts: list[list[int]]) -> Evaluation:
    evaluation = drawn_evaluation(10, len(counts))
    return replace(evaluation, confusion=counts)


def test_few_classes_have_counts_and_shares(tmp_path: Path) -> None:
    texts = shown_texts(draw_confusion(with_counts([[30, 10], [0, 25]])), tmp_path)
    assert {"Confusion matrix", "class 0", "class 1", "true", "predicted"} <= set(texts)
    assert {"30", "0.75", "10", "0.25", "25", "1.00"} <= set("\n".join(texts).split())
    assert "The number of images, and the share of the true class." in texts
    # Nothing is written where there is nothing.
    assert "0" not in texts


def test_middling_classes_have_counts(tmp_path: Path) -> None:
    counts = [[100 * (i == k) + (i == k + 1) for k in range(14)] for i in range(14)]
    texts = shown_texts(draw_confusion(with_counts(counts)), tmp_path)
    assert texts.count("100") == 14
    assert texts.count("1") == 13
    assert "The number of images. The shade is the share of the true class." in texts


def test_where_counts_have_no_room_there_are_percentages(tmp_path: Path) -> None:
    counts = [[9990 * (i == k) + 10 * (i == k + 1) for k in range(20)] for i in range(20)]
    counts[3] = [4000 * (k in (3, 5)) for k in range(20)]
    texts = shown_texts(draw_confusion(with_counts(counts)), tmp_path)
    assert texts.count("100") == 19
    assert texts.count("50") == 2
    assert "0" not in texts
    assert "9,990" not in texts
    assert "The percentage of the true class." in texts


def test_a_higher_share_is_a_darker_cell() -> None:
    figure = draw_confusion(with_counts([[90, 10], [50, 50]]))
    (cells,) = (one for one in figure.axes[0].collections if isinstance(one, PolyCollection))
    alphas = cells.get_facecolor()[:, 3]
    assert alphas[0] > alphas[2] == alphas[3] > alphas[1] > 0


def test_a_class_without_images_has_an_empty_row(tmp_path: Path) -> None:
    texts = shown_texts(draw_confusion(with_counts([[0, 0], [1, 9]])), tmp_path)
    assert {"1", "0.10", "9", "0.90"} <= set("\n".join(texts).split())
    assert "nan" not in "\n".join(texts)


def test_many_classes_have_their_most_confused_pairs(tmp_path: Path) -> None:
    evaluation = drawn_evaluation(400, 120, skill=3.0)
    texts = shown_texts(draw_confusion(evaluation), tmp_path)
    assert len(evaluation.confused) == 20
    for one in evaluation.confused:
        assert f"{one.true} → {one.predicted}" in texts
        assert f"{one.images} ({100 * one.share:.0f} %)" in texts


def test_many_classes_without_mistakes_have_a_sentence(tmp_path: Path) -> None:
    evaluation = drawn_evaluation(200, 30, skill=99.0)
    text = " ".join(shown_texts(draw_confusion(evaluation), tmp_path))
    assert text.endswith("No class is taken for another in the 200 validation images.")


def test_several_labels_are_found_missed_or_wrong(tmp_path: Path) -> None:
    evaluation = drawn_evaluation(90, 4, several_labels=True)
    texts = shown_texts(draw_confusion(evaluation), tmp_path)
    assert {"found", "missed", "wrongly predicted"} <= set(texts)
    for one in evaluation.by_class:
        assert one.name in texts
        numbers = (one.hits, one.images - one.hits, one.predicted - one.hits)
        assert " + ".join(map(str, numbers)) in texts


def test_many_of_several_labels_are_the_worst_and_a_line(tmp_path: Path) -> None:
    evaluation = drawn_evaluation(200, 120, several_labels=True)
    texts = shown_texts(draw_confusion(evaluation), tmp_path)
    names = [one.name for one in sorted(evaluation.by_class, key=lambda one: one.f1.value or 0)]
    assert sum(name in texts for name in names) == 20
    assert names[0] in texts
    assert "… and 100 more, all in the table." in texts


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("classes", [8, 40])
def test_strange_names_stay_in_their_place(several: bool, classes: int, tmp_path: Path) -> None:
    names = [*STRANGE, *(f"{name}{i}" for i in range(4) for name in STRANGE)][:classes]
    evaluation = drawn_evaluation(300, names, several_labels=several, skill=0.5)
    figure = draw_confusion(evaluation)
    text = "\n".join(shown_texts(figure, tmp_path))
    assert all(part in text for part in ("$x^2$", "<b>&amp;</b>", "قط عربي", r"\x1b[31mred"))
    assert "W" * 30 not in text
    figure.draw_without_rendering()
    for axes in figure.axes:
        box = axes.get_tightbbox()
        assert box.x0 >= 0
        assert box.x1 <= figure.bbox.x1


@pytest.mark.parametrize("drawing", [{"classes": 2}, {"classes": 120}, {"classes": 1000}])
def test_the_file_is_small_and_always_the_same(drawing: dict, tmp_path: Path) -> None:
    evaluation = drawn_evaluation(500, **drawing)
    for name in ("one.svg", "other.svg"):
        save_figure(draw_confusion(evaluation), tmp_path / name)
    one, other = (tmp_path / f"{name}.svg" for name in ("one", "other"))
    assert one.read_bytes() == other.read_bytes()
    assert one.stat().st_size < 150_000
