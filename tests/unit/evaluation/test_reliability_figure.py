"""The reliability diagram shows each bin, and the calibration error."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from evaluation_builders import drawn_evaluation, shown_texts
from imagepipe.display.figures import save_figure, styled
from imagepipe.evaluation.reliability_figure import draw_reliability


@pytest.fixture(autouse=True)
def in_style() -> Iterator[None]:
    with styled():
        yield


@pytest.mark.parametrize("several", [False, True])
def test_bars_are_accuracies_gaps_and_shares(several: bool) -> None:
    evaluation = drawn_evaluation(200, 4, several_labels=several)
    diagram, histogram = draw_reliability(evaluation).axes
    filled = [one for one in evaluation.calibration.bins if one.predictions]
    _, accuracies, gaps = diagram.containers
    for bar, gap, one in zip(accuracies, gaps, filled, strict=True):
        assert bar.get_height() == pytest.approx(one.accuracy)
        assert one.low < bar.get_x() < bar.get_x() + bar.get_width() < one.high
        assert gap.get_y() == pytest.approx(one.accuracy)
        assert gap.get_y() + gap.get_height() == pytest.approx(one.confidence)
    shares = [bar.get_height() for bar in histogram.containers[0]]
    total = sum(one.predictions for one in evaluation.calibration.bins)
    expected = [one.predictions / total for one in evaluation.calibration.bins]
    assert shares == pytest.approx(expected)
    assert histogram.get_ylim()[1] >= max(shares)


def test_intervals_are_around_the_accuracies() -> None:
    evaluation = drawn_evaluation(200, 4)
    diagram, _ = draw_reliability(evaluation).axes
    accuracy = [one.accuracy for one in evaluation.calibration.bins if one.predictions]
    ends = np.array([path.vertices[:, 1] for path in diagram.collections[0].get_paths()])
    assert (ends[:, 0] <= accuracy).all()
    assert (ends[:, 1] >= accuracy).all()
    assert (ends[:, 1] - ends[:, 0] > 0.05).all()


def test_numbers_and_words_of_one_label(tmp_path: Path) -> None:
    evaluation = drawn_evaluation(150, 5)
    texts = shown_texts(draw_reliability(evaluation), tmp_path)
    calibration = evaluation.calibration
    (line,) = (text for text in texts if text.startswith("ECE"))
    numbers = (calibration.ece, calibration.mean_confidence, calibration.accuracy)
    assert [word for word in line.split() if "." in word] == [f"{one:.3f}" for one in numbers]
    assert {"accuracy", "gap", "95 % interval", "probability of the likeliest class"} <= set(texts)


def test_words_of_several_labels(tmp_path: Path) -> None:
    texts = shown_texts(draw_reliability(drawn_evaluation(90, 5, several_labels=True)), tmp_path)
    assert {"fraction with the class", "probability of a class"} <= set(texts)
    assert "accuracy" not in texts


@pytest.mark.parametrize(
    "drawing",
    [
        {"images": 1, "classes": 2},
        {"images": 40, "classes": 4, "skill": 99.0},
        {"images": 40, "classes": 4, "skill": -99.0},
        {"images": 30, "classes": 1, "several_labels": True},
        {"images": 500, "classes": 120},
    ],
)
def test_every_evaluation_is_drawn_within_the_figure(drawing: dict, tmp_path: Path) -> None:
    figure = draw_reliability(drawn_evaluation(**drawing))
    save_figure(figure, tmp_path / "figure.svg")
    figure.draw_without_rendering()
    for artist in (*figure.axes, *figure.legends, *figure.texts):
        box = artist.get_tightbbox()
        assert box.x0 >= 0
        assert box.x1 <= figure.bbox.x1
        assert box.y0 >= 0
        assert box.y1 <= figure.bbox.y1


def test_the_same_evaluation_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one.svg", "other.svg"):
        save_figure(draw_reliability(drawn_evaluation(100, 4)), tmp_path / name)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "other.svg").read_bytes()
