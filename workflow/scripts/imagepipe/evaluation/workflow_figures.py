"""The figures of how a result came about: the seconds of each stage, and the graph of rules."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.patches import FancyBboxPatch, PathPatch, Polygon
from matplotlib.path import Path as Curve

from imagepipe.config.summary import duration
from imagepipe.display.bars import add_bar_axes
from imagepipe.display.colors import light
from imagepipe.display.figures import save_figure, styled
from imagepipe.display.layout import MARGIN, TITLE_HEIGHT, WIDTH, add_axes, titled_figure
from imagepipe.display.sentence import draw_sentence
from imagepipe.display.text import SMALL, fit, text_width
from imagepipe.evaluation.graph_layout import lay_out

GRAPH_TITLE = "What reads what: the rules, from top to bottom"
# Inches.
ROW = 0.22
MAX_STAGE = 1.6
MAX_RULE = 1.6
PADDING = 0.08
BETWEEN = 0.14
TRUNK = 0.14
BOX_HEIGHT = 0.24
ROW_HEIGHT = 0.52
ARROW = 0.05


def draw_times(seconds: Mapping[str, float], svg: Path) -> None:
    """Draw the seconds that each stage took, in their order, and their sum."""
    with styled():
        if not seconds:
            save_figure(draw_sentence("No stage has a time.", "Time by stage"), svg)
            return
        title = f"Time by stage, together {duration(sum(seconds.values()))}"
        figure = titled_figure(title, TITLE_HEIGHT + ROW * len(seconds) + MARGIN)
        names, values = [fit(name, MAX_STAGE) for name in seconds], list(seconds.values())
        texts = list(map(duration, values))
        axes = add_bar_axes(figure, TITLE_HEIGHT, ROW, names, texts, values)
        axes.barh(range(len(values)), values, 0.7, color=light("series1"))
        save_figure(figure, svg)


def draw_workflow(graph: Mapping[str, Sequence[str]], svg: Path) -> None:
    """Draw rules as boxes below the rules that they read: {rule: the rules whose outputs it reads}.

    A line is left out if a longer way leads to the same rule. Raises ValueError if the graph has a
    cycle.
    """
    with styled():
        if not graph:
            save_figure(draw_sentence("No rule has run.", GRAPH_TITLE), svg)
            return
        names = {name: fit(name, MAX_RULE) for rule in graph for name in (rule, *graph[rule])}
        widths = {name: text_width(text) + 2 * PADDING for name, text in names.items()}
        layout = lay_out(graph, lambda name: widths[name] + BETWEEN, TRUNK, WIDTH + BETWEEN)
        height = ROW_HEIGHT * len(layout.rows) - (ROW_HEIGHT - BOX_HEIGHT)
        figure = titled_figure(GRAPH_TITLE, TITLE_HEIGHT + height + MARGIN)
        axes = add_axes(figure, MARGIN, TITLE_HEIGHT, WIDTH, height)
        axes.set_axis_off()
        axes.set(xlim=(BETWEEN / 2, WIDTH + BETWEEN / 2), ylim=(height, 0))
        for start, end in layout.links:
            (x1, top), (x2, bottom) = (
                (layout.x[item], ROW_HEIGHT * item[1]) for item in (start, end)
            )
            is_box = layout.row_of[end[0]] == end[1]
            top += BOX_HEIGHT
            middle, tip = (top + bottom) / 2, bottom - (ARROW if is_box else 0)
            points = [(x1, top), (x1, middle), (x2, middle), (x2, tip)]
            codes = [Curve.MOVETO, *[Curve.CURVE4] * 3]
            if not is_box:
                points.append((x2, bottom + BOX_HEIGHT))
                codes.append(Curve.LINETO)
            style = {"facecolor": "none", "edgecolor": light("muted"), "linewidth": 1.0}
            axes.add_patch(PathPatch(Curve(points, codes), **style, clip_on=False))
        arrows = {end for _, end in layout.links if layout.row_of[end[0]] == end[1]}
        for item in sorted(arrows):
            x, y = layout.x[item], ROW_HEIGHT * item[1]
            head = [(x, y), (x - ARROW * 0.7, y - 1.6 * ARROW), (x + ARROW * 0.7, y - 1.6 * ARROW)]
            axes.add_patch(Polygon(head, color=light("muted"), linewidth=0, clip_on=False))
        for name, row in sorted(layout.row_of.items()):
            width, x, y = widths[name], layout.x[name, row], ROW_HEIGHT * row
            box = FancyBboxPatch(
                (x - width / 2, y),
                width,
                BOX_HEIGHT,
                boxstyle="round,pad=0,rounding_size=0.06",
                facecolor=light("surface"),
                edgecolor=light("accent"),
                clip_on=False,
            )
            axes.add_patch(box)
            place = (x, y + BOX_HEIGHT / 2)
            axes.text(*place, names[name], ha="center", va="center_baseline", size=SMALL)
        save_figure(figure, svg)
