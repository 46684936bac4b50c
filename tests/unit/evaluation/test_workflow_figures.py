"""The figures of the stages' times, and of the rules that read one another."""

import random
from itertools import combinations, pairwise
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, PathPatch
from matplotlib.transforms import Bbox

from figure_reading import check_readable, saved_figures, svg_texts
from imagepipe.display.figures import COLUMN_WIDTH
from imagepipe.evaluation.graph_layout import Item, Layout, crossings, lay_out, reduced
from imagepipe.evaluation.workflow_figures import draw_times, draw_workflow

Graph = dict[str, list[str]]

# As the rule `report` has it, with thresholds.
WORKFLOW = """
fetch → extract, tables, true_labels
extract, tables → labels
extract, labels, tables → form
labels → split
extract, labels → pack
pack → compare
compare, labels, pack, split → check_data
compare, form, labels, pack, split → train
compare, labels, pack → retrain
train, form → thresholds
train → runs
train, retrain → curves
pack, split → augmentation
train, form, pack, thresholds → evaluate
train, evaluate, pack → saliency
pack, retrain → predict
labels, pack, predict, thresholds → test_predictions
form, labels, predict, thresholds → submission
form, submission, true_labels → score
augmentation, check_data, curves, evaluate, fetch, retrain, runs → report
saliency, score, submission, test_predictions, train → report
"""


def workflow_graph() -> Graph:
    """Return the rules of the workflow, each with those that it reads."""
    graph: Graph = {}
    for line in WORKFLOW.strip().splitlines():
        before, after = line.split(" → ")
        for rule in after.split(", "):
            graph.setdefault(rule, []).extend(before.split(", "))
    return graph


def random_graph(seed: int) -> Graph:
    """Return a graph in which each node reads some of those before it."""
    draw = random.Random(seed)
    names = [f"{'rule' * draw.randint(1, 4)}{i}" for i in range(draw.randint(1, 28))]
    return {
        name: [one for one in names[:i] if draw.random() < 2.5 / (i + 1)]
        for i, name in enumerate(names)
    }


def laid_out(graph: Graph) -> Layout:
    return lay_out(graph, lambda name: 0.3 + 0.06 * len(name), 0.1, 4.7)


def lines_into(layout: Layout) -> set[tuple[str, str]]:
    """Return (rule, source) for each line that ends at a rule's box."""
    return {(end[0], start[0]) for start, end in layout.links if layout.row_of[end[0]] == end[1]}


def all_sources(graph: Graph) -> dict[str, set[str]]:
    """Return what leads to each node, however long the way is."""
    found = {node: set(own) for node, own in graph.items()}
    for own in graph.values():
        for source in own:
            found.setdefault(source, set())
    for _ in found:
        for own in found.values():
            own.update(*(found[source] for source in tuple(own)))
    return found


GRAPHS = [workflow_graph(), *map(random_graph, range(12))]


@pytest.mark.parametrize("graph", GRAPHS)
def test_lines_lead_from_every_source_and_none_is_needless(graph: Graph) -> None:
    lines = lines_into(laid_out(graph))
    kept: Graph = {node: [] for node in all_sources(graph)}
    for node, source in lines:
        kept[node].append(source)
    assert all_sources(kept) == all_sources(graph)
    for node, source in lines:
        without = {
            name: [s for s in own if (name, s) != (node, source)] for name, own in kept.items()
        }
        assert source not in all_sources(without)[node]
    assert reduced(graph) == {node: sorted(own) for node, own in sorted(kept.items())}


@pytest.mark.parametrize("graph", GRAPHS)
def test_sources_are_above_and_nothing_lies_on_another(graph: Graph) -> None:
    layout = laid_out(graph)
    for node, source in lines_into(layout):
        assert layout.row_of[source] < layout.row_of[node]

    def width(item: Item) -> float:
        is_box = layout.row_of[item[0]] == item[1]
        return 0.3 + 0.06 * len(item[0]) if is_box else 0.1

    for row in layout.rows:
        for one, other in pairwise(row):
            apart = layout.x[other] - layout.x[one]
            assert apart >= (width(one) + width(other)) / 2 - 1e-9
        assert layout.x[row[0]] - width(row[0]) / 2 >= -1e-9
        assert layout.x[row[-1]] + width(row[-1]) / 2 <= 4.7 + 1e-9
    # Each link goes from one row to the next.
    assert all(end[1] - start[1] == 1 for start, end in layout.links)


def test_the_order_of_the_rules_is_no_matter() -> None:
    graph = workflow_graph()
    other = {rule: graph[rule][::-1] for rule in reversed(graph)}
    assert laid_out(graph) == laid_out(other)


@pytest.mark.parametrize("graph", GRAPHS)
def test_few_lines_cross(graph: Graph) -> None:
    layout = laid_out(graph)
    by_name = [sorted(row) for row in layout.rows]
    assert crossings(layout.rows, layout.links) <= crossings(by_name, layout.links)
    if graph == GRAPHS[0]:
        assert crossings(layout.rows, layout.links) <= 12


def test_a_rule_is_near_the_rules_that_it_is_for() -> None:
    chain = {f"stage{i + 1}": [f"stage{i}"] for i in range(5)}
    chain["stage5"].append("side")
    row_of = laid_out(chain).row_of
    assert row_of["side"] == row_of["stage5"] - 1


@pytest.mark.parametrize("graph", [{"a": ["b"], "b": ["a"]}, {"a": ["a"]}])
def test_a_cycle_is_refused(graph: Graph, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cycle"):
        draw_workflow(graph, tmp_path / "graph.svg")


def drawn(graph: Graph, svg: Path) -> Figure:
    with saved_figures() as figures:
        draw_workflow(graph, svg)
    (figure,) = figures
    check_readable(figure)
    return figure


def test_every_rule_is_a_box_that_no_line_crosses(tmp_path: Path) -> None:
    graph = workflow_graph()
    figure = drawn(graph, tmp_path / "graph.svg")
    assert figure.get_size_inches()[0] == COLUMN_WIDTH
    shown = svg_texts(tmp_path / "graph.svg")
    assert sorted(text for text in shown if " " not in text) == sorted(all_sources(graph))
    (axes,) = figure.axes
    boxes = [
        Bbox.from_bounds(patch.get_x(), patch.get_y(), patch.get_width(), patch.get_height())
        for patch in axes.patches
        if isinstance(patch, FancyBboxPatch)
    ]
    assert len(boxes) == len(all_sources(graph))
    for one, other in combinations(boxes, 2):
        assert not one.padded(0.04).overlaps(other)
    lines = [patch.get_path() for patch in axes.patches if isinstance(patch, PathPatch)]
    for line in lines:
        points = line.interpolated(1).to_polygons(closed_only=False)[0]
        inside = [
            (x, y)
            for x, y in points
            for box in boxes
            if box.x0 < x < box.x1 and box.y0 + 0.01 < y < box.y1 - 0.01
        ]
        assert not inside
        if len(line.vertices) == 5:  # a trunk, which goes straight down beside the boxes of a row
            assert line.vertices[3][0] == line.vertices[4][0]


@pytest.mark.parametrize(
    "graph",
    [{"publish": []}, {"b": ["a"]}, {f"rule{i}": [] for i in range(40)}, {"x" * 300: ["a"]}],
)
def test_small_wide_and_long_graphs_fit(graph: Graph, tmp_path: Path) -> None:
    drawn(graph, tmp_path / "graph.svg")


def test_no_rule_is_a_sentence(tmp_path: Path) -> None:
    drawn({}, tmp_path / "graph.svg")
    assert "No rule has run." in svg_texts(tmp_path / "graph.svg")


def test_the_same_graph_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "other"):
        draw_workflow(workflow_graph(), tmp_path / f"{name}.svg")
        draw_times({"train": 2.0}, tmp_path / f"{name}-times.svg")
    for end in (".svg", ".png", "-times.svg", "-times.png"):
        assert (tmp_path / f"one{end}").read_bytes() == (tmp_path / f"other{end}").read_bytes()


def test_times_are_bars_in_their_order_with_their_sum(tmp_path: Path) -> None:
    seconds = {"fetch": 0.04, "train": 19.2, "a" * 300: 125.0, "retrain, seed 1": 3600.0}
    with saved_figures() as figures:
        draw_times(seconds, tmp_path / "times.svg")
    check_readable(figures[0])
    (axes,) = figures[0].axes
    assert [bar.get_width() for bar in axes.patches] == list(seconds.values())
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert (names[0], names[1], names[3]) == ("fetch", "train", "retrain, seed 1")
    assert axes.yaxis_inverted()
    shown = svg_texts(tmp_path / "times.svg")
    assert [text for text in shown if text[0].isdigit()] == [
        "0.0 s",
        "19.2 s",
        "2 min 5 s",
        "1 h 0 min",
    ]
    assert "Time by stage, together 1 h 2 min" in shown


@pytest.mark.parametrize(
    ("seconds", "words"), [({}, "No stage has a time."), ({"link": 0.0}, "0.0 s")]
)
def test_no_time_is_a_figure_too(tmp_path: Path, seconds: dict[str, float], words: str) -> None:
    draw_times(seconds, tmp_path / "times.svg")
    assert words in svg_texts(tmp_path / "times.svg")
