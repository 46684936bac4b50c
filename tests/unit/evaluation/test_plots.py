"""The figure of a training's history."""

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from imagepipe.evaluation.plots import plot_history
from imagepipe.training.history import EpochMetrics, write_history


@pytest.fixture
def history(tmp_path: Path) -> Path:
    return history_file(tmp_path / "history.csv", valid_accuracy=0.4)


def history_file(path: Path, valid_accuracy: float | None, epochs: int = 3) -> Path:
    rows = [
        EpochMetrics(epoch, 2 / epoch, 0.5, valid_accuracy, 0.1, 100.0, 1.0, "cpu", "fp32")
        for epoch in range(1, epochs + 1)
    ]
    write_history(path, rows)
    return path


def texts(figure: Path) -> list[str]:
    """Return the texts of an SVG file; matplotlib draws them, and writes them as comments."""
    builder = ElementTree.TreeBuilder(insert_comments=True)
    parser = ElementTree.XMLParser(target=builder)
    root = ElementTree.fromstring(figure.read_bytes(), parser)
    return [(node.text or "").strip() for node in root.iter(ElementTree.Comment)]


def test_the_same_history_gives_the_same_bytes(history: Path, tmp_path: Path) -> None:
    for name in ("one.svg", "other.svg"):
        plot_history(history, tmp_path / name, "d2l")
    one = (tmp_path / "one.svg").read_bytes()
    assert one == (tmp_path / "other.svg").read_bytes()
    plot_history(history_file(history, 0.9), tmp_path / "other.svg", "d2l")
    assert one != (tmp_path / "other.svg").read_bytes()


def test_the_figure_tells_what_it_shows(history: Path, tmp_path: Path) -> None:
    plot_history(history, tmp_path / "history.svg", "recipe d2l")
    shown = texts(tmp_path / "history.svg")
    assert {"recipe d2l", "mean loss", "top-1 accuracy", "train", "valid"} <= set(shown)
    assert shown.count("epochs") == 2


@pytest.mark.parametrize("epochs", [1, 3])
def test_a_history_without_validation_is_drawn_without_it(epochs: int, tmp_path: Path) -> None:
    history = history_file(tmp_path / "history.csv", valid_accuracy=None, epochs=epochs)
    plot_history(history, tmp_path / "history.svg", "retrained")
    shown = texts(tmp_path / "history.svg")
    assert "train" in shown
    assert "valid" not in shown


def test_a_metric_other_than_accuracy_has_a_panel(tmp_path: Path) -> None:
    row = EpochMetrics(1, 2.0, 0.5, 0.4, 0.1, 100.0, 1.0, "cpu", "fp32", "log_loss", 0.7)
    write_history(tmp_path / "history.csv", [row, replace(row, epochs=2, metric=None)])
    plot_history(tmp_path / "history.csv", tmp_path / "history.svg", "my run")
    shown = texts(tmp_path / "history.svg")
    assert {"mean loss", "top-1 accuracy", "log loss"} <= set(shown)
    assert shown.count("epochs") == 3
