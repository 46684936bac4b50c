"""The figure of classes shows precision, recall and F1 with intervals, the worst first."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from evaluation_builders import drawn_evaluation, shown_texts
from imagepipe.display.figures import save_figure, styled
from imagepipe.evaluation.class_figure import draw_classes
from imagepipe.evaluation.evaluation_file import Evaluation
from imagepipe.evaluation.ranking import worst_first


@pytest.fixture(autouse=True)
def in_style() -> Iterator[None]:
    with styled():
        yield


def drawn_estimates(figure: Figure) -> list[tuple[float, float, float]]:
    """Return value, low and high of each marker: all precisions, then recalls and F1s."""
    axes = figure.axes[0]
    values = [float(x) for line in axes.lines for x in line.get_xdata()]
    ends = [path.vertices[:, 0] for one in axes.collections[:3] for path in one.get_paths()]
    return [(value, *map(float, end)) for value, end in zip(values, ends, strict=True)]


def names_from_the_top(figure: Figure) -> list[str]:
    return [label.get_text() for label in figure.axes[0].get_yticklabels()]


def test_each_value_is_a_marker_in_its_interval() -> None:
    evaluation = drawn_evaluation(100, 6)
    figure = draw_classes(evaluation)
    ranked = worst_first(evaluation.by_class)
    assert names_from_the_top(figure) == [one.name for one in ranked]
    expected = [
        (estimate.value, estimate.low, estimate.high)
        for name in ("precision", "recall", "f1")
        for one in ranked
        if (estimate := getattr(one, name)).value is not None
    ]
    assert np.array(drawn_estimates(figure)) == pytest.approx(np.array(expected))


def test_the_worst_come_first_and_those_without_images_last() -> None:
    evaluation = drawn_evaluation(80, 12, skill=1.0, absent=(2, 7))
    ranked = worst_first(evaluation.by_class)
    assert {one.name for one in ranked[-2:]} == {"class 2", "class 7"}
    f1 = [one.f1.value or 0.0 for one in ranked[:-2]]
    assert f1 == sorted(f1)
    assert f1[0] < f1[-1]


def test_markers_differ_in_shape_and_are_explained(tmp_path: Path) -> None:
    figure = draw_classes(drawn_evaluation(100, 3))
    assert len({line.get_marker() for line in figure.axes[0].lines}) == 3
    assert {"precision", "recall", "F1", "images"} <= set(shown_texts(figure, tmp_path))


def test_each_class_tells_its_number_of_images(tmp_path: Path) -> None:
    evaluation = drawn_evaluation(3000, 2)
    texts = shown_texts(draw_classes(evaluation), tmp_path)
    assert all(f"{one.images:,}" in texts for one in evaluation.by_class)


@pytest.mark.parametrize("classes", [20, 21, 120, 1000])
def test_of_many_classes_the_worst_are_shown_and_the_rest_is_named(
    classes: int, tmp_path: Path
) -> None:
    evaluation = drawn_evaluation(3 * classes, classes)
    figure = draw_classes(evaluation)
    assert len(names_from_the_top(figure)) == 20
    line = f"… and {classes - 20:,} more, all in the table."
    assert (line in shown_texts(figure, tmp_path)) == (classes > 20)


@pytest.mark.parametrize(
    "drawing",
    [
        {"images": 1, "classes": 3},
        {"images": 50, "classes": 1, "several_labels": True},
        {"images": 60, "classes": 5, "several_labels": True, "absent": (1,)},
        {"images": 40, "classes": 4, "skill": 99.0},
        {"images": 40, "classes": 4, "skill": -99.0},
        {"images": 90, "classes": ["$x$", "<b>", "a\nb", "W" * 300, "قط", "😀", "\x00"]},
    ],
)
def test_nothing_overlaps_or_leaves_the_figure(drawing: dict, tmp_path: Path) -> None:
    evaluation: Evaluation = drawn_evaluation(**drawing)
    figure = draw_classes(evaluation)
    save_figure(figure, tmp_path / "classes.svg")
    box = figure.axes[0].get_tightbbox()
    assert box.x0 >= 0
    assert box.y0 >= 0
    numbers = [one for one in figure.texts if one.get_text().replace(",", "").isdigit()]
    assert len(numbers) == len(evaluation.by_class)
    assert all(one.get_window_extent().x0 > figure.axes[0].bbox.x1 for one in numbers)


def test_the_file_is_small_and_always_the_same(tmp_path: Path) -> None:
    for name in ("one.svg", "other.svg"):
        save_figure(draw_classes(drawn_evaluation(500, 120)), tmp_path / name)
    one, other = (tmp_path / f"{name}.svg" for name in ("one", "other"))
    assert one.read_bytes() == other.read_bytes()
    assert one.stat().st_size < 60_000
