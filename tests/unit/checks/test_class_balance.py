"""The figure of the classes' sizes."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from figure_reading import check_readable, saved_figures, svg_texts
from imagepipe.checks.class_balance import draw_class_balance

LONG = f"<&>$x$\n{'long ' * 60}"


def drawn(sizes: Sequence[tuple[str, int, int]], svg: Path) -> Figure:
    classes = [{"class": name, "train": train, "valid": valid} for name, train, valid in sizes]
    with saved_figures() as figures:
        draw_class_balance({"classes": classes}, svg)
    (figure,) = figures
    check_readable(figure)
    return figure


def test_each_class_has_a_bar_of_its_train_and_valid_images(tmp_path: Path) -> None:
    sizes = [("cat", 8, 2), ("dog", 1234, 0), (LONG, 0, 3)]
    (axes,) = drawn(sizes, tmp_path / "balance.svg").axes
    bars = [(bar.get_x(), bar.get_width()) for bar in axes.patches]
    assert bars == [(0, 8), (0, 1234), (0, 0), (8, 2), (1234, 0), (0, 3)]
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names[:2] == ["cat", "dog"]
    assert names[2].startswith("<&>$x$ ")
    assert axes.yaxis_inverted()
    shown = svg_texts(tmp_path / "balance.svg")
    assert {"Images of each class", "train", "+ valid"} <= set(shown)
    assert [text for text in shown if " + " in text] == ["8 + 2", "1,234 + 0", "0 + 3"]


@pytest.mark.parametrize(("count", "is_curve"), [(1, False), (30, False), (31, True), (1000, True)])
def test_many_classes_are_a_curve_by_size(tmp_path: Path, count: int, is_curve: bool) -> None:
    sizes = [(f"class {i}", 100 + i, i % 7) for i in range(count)]
    (axes,) = drawn(sizes, tmp_path / "balance.svg").axes
    assert bool(axes.patches) != is_curve
    if not is_curve:
        return
    every, valid = (line.get_ydata().tolist() for line in axes.get_lines())
    assert every == sorted((train + valid for _, train, valid in sizes), reverse=True)
    assert sum(valid) == sum(valid for *_, valid in sizes)
    shown = svg_texts(tmp_path / "balance.svg")
    assert f"Images of each class: {count:,} classes by size" in shown
    name, *_ = max(sizes, key=lambda size: size[1] + size[2])
    assert f"largest: {name}, {every[0]:,} images" in shown
    assert "smallest: class 0, 100 images" in shown
    assert {"train + valid", "valid"} <= set(shown)


@pytest.mark.parametrize(
    ("largest", "smallest", "scale"), [(20, 1, "linear"), (21, 1, "symlog"), (21, 0, "symlog")]
)
def test_very_unequal_classes_have_a_logarithmic_axis(
    tmp_path: Path, largest: int, smallest: int, scale: str
) -> None:
    sizes = [(f"{LONG}{i}", largest, 0) for i in range(39)] + [("rare", smallest, 0)]
    (axes,) = drawn(sizes, tmp_path / "balance.svg").axes
    assert axes.get_yscale() == scale
    assert f"smallest: rare, {smallest} images" in svg_texts(tmp_path / "balance.svg")


@pytest.mark.parametrize("sizes", [[], [("cat", 0, 0)]])
def test_nothing_is_a_figure_too(tmp_path: Path, sizes: list[tuple[str, int, int]]) -> None:
    drawn(sizes, tmp_path / "balance.svg")
    text = " ".join(svg_texts(tmp_path / "balance.svg"))
    assert "Images of each class" in text
    assert ("There are no classes." in text) != bool(sizes)


def test_the_same_report_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "other"):
        drawn([("cat", 8, 2)], tmp_path / f"{name}.svg")
    for ending in (".svg", ".png"):
        one, other = ((tmp_path / f"{name}{ending}").read_bytes() for name in ("one", "other"))
        assert one == other
