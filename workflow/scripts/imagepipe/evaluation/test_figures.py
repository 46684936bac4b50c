"""The figures of the predictions for the test images."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import SubFigure
from matplotlib.ticker import FuncFormatter, MaxNLocator, StrMethodFormatter

from imagepipe.dataset.packed import PackedFile
from imagepipe.display.colors import light
from imagepipe.display.figures import new_figure, save_figure, styled
from imagepipe.display.sentence import draw_sentence
from imagepipe.display.text import SMALL, fit
from imagepipe.evaluation.evaluation_file import ClassShare, TestPredictions
from imagepipe.evaluation.picture_grid import draw_grid

# Of more classes, only those are drawn whose shares differ most.
ALL_CLASSES = 30
MOST_DIFFERENT = 20
# Inches.
ROW = 0.2
LABEL_WIDTH = 1.5
CONFIDENCES_HEIGHT = 2.0


def draw_test_predictions(predictions: TestPredictions, svg: Path) -> None:
    """Draw the classes' predicted and labelled shares, and a histogram of the confidences."""
    with styled():
        if not predictions.images:
            figure = draw_sentence("There are no test images.", "Test predictions")
            save_figure(figure, svg)
            return
        shown = shown_classes(predictions.by_class)
        heights = [1.0 + ROW * len(shown), CONFIDENCES_HEIGHT]
        figure = new_figure(height=sum(heights))
        (shares,), (confidences,) = figure.subfigures(2, squeeze=False, height_ratios=heights)
        _shares(shares, shown, len(predictions.by_class))
        _confidences(confidences, predictions)
        save_figure(figure, svg)


def draw_test_pictures(predictions: TestPredictions, images: PackedFile, svg: Path) -> None:
    """Draw the least sure of the test `images`, each with its prediction."""
    shown = predictions.least_sure
    with styled():
        if shown:
            pictures = [images.read(one.row, 1)[0] for one in shown]
            captions = [
                f"{one.predicted or '(no label)'} {100 * one.probability:.0f} %\nid {one.id}"
                for one in shown
            ]
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


def _shares(figure: SubFigure, shown: Sequence[ClassShare], classes: int) -> None:
    axes = figure.subplots()
    rows = range(len(shown))
    predicted = [one.share for one in shown]
    labelled = [one.labelled_share for one in shown]
    axes.hlines(rows, labelled, predicted, color=light("muted"), linewidth=1.2)
    axes.plot(predicted, rows, "o", color=light("series1"), markersize=5, label="predicted")
    (diamonds,) = axes.plot(labelled, rows, "D", color=light("series6"), label="labelled images")
    diamonds.set(markersize=7.5, markerfacecolor="none")
    axes.set_yticks(rows, [fit(one.name, LABEL_WIDTH) for one in shown], fontsize=SMALL)
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.set_xlim(0, 1.05 * max(*predicted, *labelled) or 1)
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:g} %"))
    axes.set_xlabel("share of the images")
    axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1), ncols=2)
    title = "Test predictions by class"
    if len(shown) < classes:
        title += f": the {len(shown)} of {classes:,} that differ most"
    figure.suptitle(title, x=0.01, ha="left", size=10, weight="bold")


def _confidences(figure: SubFigure, predictions: TestPredictions) -> None:
    axes = figure.subplots()
    width = 1 / len(predictions.confidences)
    left = [number * width for number in range(len(predictions.confidences))]
    axes.bar(left, predictions.confidences, 0.9 * width, align="edge", color=light("series1"))
    axes.set_xlim(0, 1)
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.set_ylabel("images")
    axes.set_xlabel(
        "mean probability of the decisions about the classes"
        if predictions.several_labels
        else "probability of the predicted class"
    )
    title = f"Confidence: mean {predictions.mean_confidence:.3f}"
    if predictions.agreement is not None:
        title += f"; {predictions.members} members agree on {100 * predictions.agreement:.1f} %"
    figure.suptitle(title, x=0.01, ha="left", size=10, weight="bold")
