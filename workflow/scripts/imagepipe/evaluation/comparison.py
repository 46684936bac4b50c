"""The figure of a dataset's runs: their results, their curves, and what each setting does."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from imagepipe.config.metric_names import higher_is_better, metric_words
from imagepipe.display.colors import SERIES, light
from imagepipe.display.figures import save_figure, styled
from imagepipe.display.layout import (
    LINE,
    MARGIN,
    TITLE_HEIGHT,
    WIDTH,
    add_axes,
    titled_figure,
    write,
    write_title,
)
from imagepipe.display.sentence import draw_sentence
from imagepipe.display.text import SMALL, fit, text_width
from imagepipe.selection.run_results import ACCURACY, RunResult, setting_text
from imagepipe.training.history import thinned

TITLE = "Runs of this dataset, the best first"
MAX_LISTED = 25
MAX_SETTINGS = 4
MAX_CATEGORIES = 6
# An axis is logarithmic if its largest value is more than so many times the smallest.
WIDE = 20
# The best runs have a marker of their own, by which their curves are found.
MARKERS = "os^DvPX<"
# Points of a curve: more make a file large, and are not seen.
MAX_POINTS = 100
NOT_SETTINGS = ("run", "seed", "split")
# Inches.
MAX_LABEL = 1.75
VALUE = 0.5
ROW_GAP = 0.06
NUMBERS = 0.42  # at the left of a panel
GAP = 0.12
TICKS = 0.26
AXIS = 0.42
CURVES_HEIGHT = 1.7
SETTING_HEIGHT = 1.2


def draw_comparison(runs: Sequence[RunResult], svg: Path) -> None:
    """Draw the validation results of runs, in their order, by the metric of the first.

    Above, each run's metric, an accuracy with its Wilson interval of 95 %; then the curves of the
    validation images over the epochs; then, for the settings that vary most among the runs of one
    recipe, the metric by the setting's value. Runs for which the metric is not defined are left
    out.
    """
    metric = runs[0].metric if runs else ACCURACY
    known = [run for run in runs if run.metric == metric and math.isfinite(run.rating)]
    with styled():
        if len(known) < 2:
            sentence = (
                f"{'One run' if known else 'No run'} has a result: nothing to compare yet. Another "
                "recipe, an override or another seed makes another run, and this figure keeps all."
            )
            save_figure(draw_sentence(sentence, TITLE), svg)
            return
        listed, sweep = known[:MAX_LISTED], largest_sweep(known)
        labels, below = _labels(listed), _lines_below(listed, len(runs) - len(listed))
        settings = varied_settings(sweep)
        list_height = len(listed) * (ROW_GAP + LINE * max(len(lines) for lines in labels))
        curves_top = TITLE_HEIGHT + list_height + TICKS + LINE * len(below)
        settings_top = curves_top + TITLE_HEIGHT + CURVES_HEIGHT + AXIS
        setting_rows = math.ceil(len(settings) / 2)
        title_height = TITLE_HEIGHT if settings else 0
        figure = titled_figure(
            TITLE, settings_top + title_height + setting_rows * (SETTING_HEIGHT + AXIS)
        )
        side = max(text_width(line) for lines in labels for line in lines) + GAP
        place = (MARGIN + side, TITLE_HEIGHT, WIDTH - side - VALUE, list_height)
        _draw_results(add_axes(figure, *place), listed, labels)
        for number, line in enumerate(reversed(below), start=1):
            write(figure, MARGIN + WIDTH, curves_top - number * LINE, line, ha="right")
        words = metric_words(metric)
        write_title(figure, curves_top, f"Validation {words} over the epochs")
        place = (MARGIN + NUMBERS, curves_top + TITLE_HEIGHT, WIDTH - NUMBERS - GAP, CURVES_HEIGHT)
        _draw_curves(add_axes(figure, *place), listed)
        if settings:
            recipe = fit(_recipe(sweep[0]), 1.5, 11)
            title = f"Validation {words} by what varies in {recipe} (★: the best)"
            write_title(figure, settings_top, title)
        width = WIDTH / min(2, len(settings) or 1)
        for number, key in enumerate(settings):
            left = MARGIN + NUMBERS + width * (number % 2)
            top = settings_top + TITLE_HEIGHT + (SETTING_HEIGHT + AXIS) * (number // 2)
            axes = add_axes(figure, left, top, width - NUMBERS - GAP, SETTING_HEIGHT)
            _draw_setting(axes, key, sweep)
        save_figure(figure, svg)


def largest_sweep(runs: Sequence[RunResult]) -> list[RunResult]:
    """Return the runs of the recipe that has most of them; of equals, of the one with the best."""
    recipes = Counter(_recipe(run) for run in runs)
    (recipe, _), *_ = recipes.most_common(1)
    return [run for run in runs if _recipe(run) == recipe]


def varied_settings(runs: Sequence[RunResult]) -> list[str]:
    """Return the settings that have most values, at most `MAX_SETTINGS`.

    A setting that is not always a number is left out if it has more than `MAX_CATEGORIES` values.
    """
    values = {
        key: {setting_text(run.settings.get(key)) for run in runs}
        for run in runs
        for key in run.settings
        if key not in NOT_SETTINGS
    }
    fitting = {
        key: len(texts)
        for key, texts in values.items()
        if len(texts) > 1 and (_is_numeric(key, runs) or len(texts) <= MAX_CATEGORIES)
    }
    return sorted(fitting, key=lambda key: -fitting[key])[:MAX_SETTINGS]


def _draw_results(axes: Axes, runs: Sequence[RunResult], labels: Sequence[Sequence[str]]) -> None:
    # Importing SciPy takes as long as all else that is needed for a single run.
    from imagepipe.evaluation.intervals import wilson

    for y, run in enumerate(runs):
        value, style = _value(run), _style(y)
        if run.metric == ACCURACY:
            _, low, high = wilson(round(value * run.valid_images), run.valid_images)
            axes.plot([low, high], [y, y], "|-", color=style["color"], markersize=5, linewidth=1.2)
        axes.plot(value, y, markersize=5.5, **style)
        place = axes.get_yaxis_transform()
        axes.text(1.03, y, f"{value:.4f}", transform=place, va="center", size=SMALL)
    texts = ["\n".join(lines) for lines in labels]
    axes.set_yticks(range(len(runs)), texts, multialignment="right", linespacing=1.1)
    axes.set_ylim(len(runs) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(labelsize=SMALL)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.spines.left.set_visible(False)


def _lines_below(listed: Sequence[RunResult], more: int) -> list[str]:
    """Return what the horizontal axis shows, and what the list leaves out."""
    metric = listed[0].metric
    label = f"{metric_words(metric)} on the validation images"
    if metric == ACCURACY:
        label += ", 95 % interval"
    elif not higher_is_better(metric):
        label += " (lower is better)"
    lines = [label]
    if any(_is_on_other_images(run, listed[0]) for run in listed):
        lines.append("* validated on other images than the first")
    return [*lines, f"and {more:,} more in runs.csv"] if more else lines


def _draw_curves(axes: Axes, runs: Sequence[RunResult]) -> None:
    for rank, run in reversed(list(enumerate(runs))):
        epochs = thinned(run.history, MAX_POINTS)
        of_metric = attrgetter("valid_accuracy" if run.metric == ACCURACY else "metric")
        values = [math.nan if (v := of_metric(epoch)) is None else v for epoch in epochs]
        every = max(1, len(epochs) // 6)
        is_marked, style = rank < len(MARKERS), _style(rank)
        if not is_marked and len(epochs) > 1:
            style = {"color": light("muted"), "alpha": 0.4}
        axes.plot(
            [epoch.epochs for epoch in epochs],
            values,
            markevery=(rank % every, every),
            markersize=4.5,
            linewidth=1.2 if is_marked else 0.6,
            **style,
        )
    lengths = [len(run.history) for run in runs if run.history]
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    if not lengths:
        place = axes.transAxes
        axes.text(0.5, 0.5, "no run has a history.csv", ha="center", transform=place, size=SMALL)
    elif max(lengths) > WIDE * min(lengths):
        axes.set_xscale("log")
        _plain_numbers(axes)
    axes.tick_params(labelsize=SMALL)
    axes.set_xlabel("epochs (each run has its marker from above)", size=SMALL)


def _draw_setting(axes: Axes, key: str, runs: Sequence[RunResult]) -> None:
    places, values = _places(axes, key, runs), [_value(run) for run in runs]
    axes.scatter(places, values, s=22, color=light("series1"), alpha=0.7, linewidths=0)
    axes.plot(places[0], values[0], "*", markersize=11, color=light("series2"))
    axes.tick_params(labelsize=SMALL)
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.set_xlabel(fit(key.removeprefix("recipe."), 1.6), size=SMALL)


def _places(axes: Axes, key: str, runs: Sequence[RunResult]) -> list[float]:
    """Set up the horizontal axis for a setting, and return the places of the runs on it."""
    if _is_numeric(key, runs):
        places = [float(run.settings.get(key, math.nan)) for run in runs]
        values = sorted({place for place in places if math.isfinite(place)})
        if is_wide := values[0] > 0 and values[-1] > WIDE * values[0]:
            axes.set_xscale("log")
        if len(values) <= MAX_CATEGORIES:
            axes.set_xticks(_apart(values, is_log=is_wide))
        elif not is_wide:
            axes.xaxis.set_major_locator(MaxNLocator(4))
        _plain_numbers(axes)
        return places
    texts = [setting_text(run.settings.get(key)) or "none" for run in runs]
    categories = sorted(set(texts))
    width = 1.6 / len(categories)
    axes.set_xticks(range(len(categories)), [fit(text, width) for text in categories])
    axes.set_xlim(-0.6, len(categories) - 0.4)
    return [float(categories.index(text)) for text in texts]


def _apart(values: Sequence[float], *, is_log: bool) -> list[float]:
    """Return those of some sorted values that are apart by the width of a number on their axis."""
    places = list(map(math.log, values)) if is_log else list(values)
    chosen = [0]
    for i, place in enumerate(places):
        if place - places[chosen[-1]] > 0.24 * (places[-1] - places[0]):
            chosen.append(i)
    return [values[i] for i in chosen]


def _plain_numbers(axes: Axes) -> None:
    """Write the horizontal axis' numbers without powers, which need a mathematical font."""
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda value, _: f"{value:,.0f}" if value >= 1000 else f"{value:.3g}")
    )
    axes.xaxis.set_minor_formatter(NullFormatter())


def _labels(runs: Sequence[RunResult]) -> list[list[str]]:
    """Return a line or two for each run: its recipe, its changes and its seed."""
    seeds_differ = len({run.settings.get("seed") for run in runs}) > 1
    changes = [str(run.settings.get("run")).split("@") for run in runs]
    keys = {part.partition("=")[0] for _, *parts in changes for part in parts}
    same_end = Counter(key.removesuffix(".name").rpartition(".")[2] for key in keys)
    labels: list[list[str]] = []
    for run, (recipe, *parts) in zip(runs, changes, strict=True):
        words = [recipe]
        for part in parts:
            key, sign, value = part.partition("=")
            end = key.removesuffix(".name").rpartition(".")[2]
            words.append(f"{end if same_end[end] == 1 else key}{sign}{value}")
        if seeds_differ:
            words.append(f"seed {run.settings.get('seed')}")
        if _is_on_other_images(run, runs[0]):
            words[-1] += " *"
        first = words.pop(0)
        while words and text_width(f"{first}, {words[0]}") <= MAX_LABEL:
            first += f", {words.pop(0)}"
        lines = [first, ", ".join(words)] if words else [first]
        labels.append([fit(line, MAX_LABEL) for line in lines])
    return labels


def _is_on_other_images(run: RunResult, other: RunResult) -> bool:
    return bool(run.settings.get("split") != other.settings.get("split"))


def _is_numeric(key: str, runs: Sequence[RunResult]) -> bool:
    """Return whether a setting is a number in all runs that have it, and not always the same."""
    values = [run.settings[key] for run in runs if key in run.settings]
    numbers = {v for v in values if isinstance(v, int | float) and not isinstance(v, bool)}
    return len(numbers) > 1 and all(
        isinstance(v, int | float) and not isinstance(v, bool) for v in values
    )


def _recipe(run: RunResult) -> str:
    """Return the recipe's name: that of the run without its changes."""
    return str(run.settings.get("run")).partition("@")[0]


def _value(run: RunResult) -> float:
    return math.nan if run.value is None else run.value


def _style(rank: int) -> Mapping[str, Any]:
    if rank < len(MARKERS):
        return {"marker": MARKERS[rank], "color": light(SERIES[rank % len(SERIES)])}
    return {"marker": ".", "color": light("muted"), "alpha": 0.6}
