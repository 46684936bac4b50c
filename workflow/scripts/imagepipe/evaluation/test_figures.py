"""The figures of the predictions for the test images."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator, StrMethodFormatter

from imagepipe.dataset.packed import PackedFile
from imagepipe.display.colors import light
from imagepipe.display.figures import save_figure, styled
from imagepipe.display.layout import (
    LINE,
    MARGIN,
    TITLE_HEIGHT,
    WIDTH,
    add_axes,
    draw_legend,
    titled_figure,
    write_title,
)
from imagepipe.display.sentence import draw_sentence
from imagepipe.display.text import SMALL, fit, text_width
from imagepipe.evaluation.evaluation_file import ClassShare, TestPredictions
from imagepipe.evaluation.picture_grid import draw_grid
from imagepipe.evaluation.prediction_pictures import prediction_caption

# Of more classes, only those are drawn whose shares differ most.
ALL_CLASSES = 30
MOST_DIFFERENT = 20
# Inches.
LEGEND = LINE + 0.1
ROW = 0.2
MAX_NAME = 1.5
GAP = 0.1
AXIS = 0.44
CONFIDENCES_HEIGHT = 1.5
NUMBERS = 0.55  # at the left of the histogram


def draw_test_predictions(predictions: TestPredictions, svg: Path) -> None:
    """Draw the classes' predicted and labelled shares, and a histogram of the confidences."""
    with styled():
        if not predictions.images:
            figure = draw_sentence("There are no test images.", "Test predictions")
            save_figure(figure, svg)
            return
        classes = len(predictions.by_class)
        shown = shown_classes(predictions.by_class)
        top, height = TITLE_HEIGHT + LEGEND, ROW * len(shown)
        title = "Test predictions by class"
        if len(shown) < classes:
            title += f": the {len(shown)} of {classes:,} that differ most"
        all_height = top + height + AXIS + TITLE_HEIGHT + CONFIDENCES_HEIGHT + AXIS
        figure = titled_figure(title, all_height)
        names = [fit(one.name, MAX_NAME) for one in shown]
        side = max(map(text_width, names)) + GAP
        axes = add_axes(figure, MARGIN + side, top, WIDTH - side - GAP, height)
        draw_legend(figure, TITLE_HEIGHT, _draw_shares(axes, shown))
        axes.set_yticks(range(len(shown)), names)
        top += height + AXIS
        write_title(figure, top, confidence_title(predictions))
        place = (MARGIN + NUMBERS, top + TITLE_HEIGHT, WIDTH - NUMBERS - GAP, CONFIDENCES_HEIGHT)
        _draw_confidences(add_axes(figure, *place), predictions)
        save_figure(figure, svg)


def draw_test_pictures(predictions: TestPredictions, images: PackedFile, svg: Path) -> None:
    """Draw the least sure of the test `images`, each with its prediction."""
    shown = predictions.least_sure
    with styled():
        if shown:
            pictures = [images.read(one.row, 1)[0] for one in shown]
            several = predictions.several_labels
            captions = [prediction_caption(one, several=several) for one in shown]
            title = f"The least sure {len(shown)} of {predictions.images:,} test predictions"
            figure = draw_grid(pictures, captions, title)
        else:
            figure = draw_sentence("There are no test images.", "The least sure test predictions")
        save_figure(figure, svg)


def shown_classes(by_class: Sequence[ClassShare]) -> Sequence[ClassShare]:
    """Return all classes or, of more than `ALL_CLASSES`, those whose shares differ most first."""
    if len(by_class) <= ALL_CLASSES:
        return by_class
    by_difference = sorted(by_class, key=lambda one: -abs(one.share - one.labelled_share))
    return by_difference[:MOST_DIFFERENT]


def confidence_title(predictions: TestPredictions) -> str:
    """Return how sure the model is and, of several members, how often they agree."""
    title = f"Confidence: mean {predictions.mean_confidence:.3f}"
    if predictions.agreement is not None:
        title += f"; {predictions.members} members agree on {100 * predictions.agreement:.1f} %"
    return title


def _draw_shares(axes: Axes, shown: Sequence[ClassShare]) -> list[Line2D]:
    """Draw the shares in a row for each class, and return the handles of the legend."""
    rows = range(len(shown))
    predicted = [one.share for one in shown]
    labelled = [one.labelled_share for one in shown]
    axes.hlines(rows, labelled, predicted, color=light("muted"), linewidth=1.2)
    (dots,) = axes.plot(predicted, rows, "o", color=light("series1"), label="predicted")
    (diamonds,) = axes.plot(labelled, rows, "D", color=light("series6"), label="labelled images")
    dots.set(markersize=5, clip_on=False)
    diamonds.set(markersize=7, markerfacecolor="none", clip_on=False)
    highest = max(*predicted, *labelled) or 1
    axes.set_xlim(-0.02 * highest, 1.05 * highest)  # the markers at 0 are beside the names
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(labelsize=SMALL)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:g} %"))
    axes.set_xlabel("share of the images", size=SMALL)
    return [dots, diamonds]


def _draw_confidences(axes: Axes, predictions: TestPredictions) -> None:
    width = 1 / len(predictions.confidences)
    left = [number * width for number in range(len(predictions.confidences))]
    axes.bar(left, predictions.confidences, 0.9 * width, align="edge", color=light("series1"))
    axes.set_xlim(0, 1)
    axes.tick_params(labelsize=SMALL)
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.set_xlabel(
        "images by the mean probability of the decisions about their classes"
        if predictions.several_labels
        else "images by the probability of their predicted class",
        size=SMALL,
    )
