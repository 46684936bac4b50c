"""The figure of a dataset's runs: their results, their curves, and what each setting does."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import SubFigure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from imagepipe.config.metric_names import higher_is_better, metric_words
from imagepipe.display.colors import SERIES, light
from imagepipe.display.figures import new_figure, save_figure, styled
from imagepipe.display.sentence import draw_sentence
from imagepipe.display.text import SMALL, fit, text_width
from imagepipe.selection.run_results import ACCURACY, RunResult, as_text

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
LABEL_WIDTH = 1.75
LINE = 0.14
CURVES_HEIGHT = 2.2
SETTINGS_HEIGHT = 1.75


def draw_comparison(runs: Sequence[RunResult], svg: Path) -> None:
    """Draw the validation results of runs, in their order, by the metric of the first.

    Above, each run's metric, an accuracy with its standard error; then the curves of the validation
    images over the epochs; then, for the settings that vary most among the runs of one recipe, the
    metric by the setting's value. Runs for which the metric is not defined are left out.
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
        settings = varied_settings(sweep)
        labels = _labels(listed)
        row_height = 0.06 + LINE * max(label.count("\n") + 1 for label in labels)
        heights = [1.0 + row_height * len(listed), CURVES_HEIGHT]
        heights += [0.25 + SETTINGS_HEIGHT * math.ceil(len(settings) / 2)] if settings else []
        figure = new_figure(height=sum(heights))
        parts = figure.subfigures(len(heights), squeeze=False, height_ratios=heights)[:, 0]
        _results(parts[0], listed, labels, len(runs) - len(listed))
        _curves(parts[1], listed)
        if settings:
            _settings(parts[2], sweep, settings)
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
        key: {as_text(run.settings.get(key)) for run in runs}
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


def _results(
    figure: SubFigure, runs: Sequence[RunResult], labels: Sequence[str], more: int
) -> None:
    axes = figure.subplots()
    for y, run in enumerate(runs):
        value, is_accuracy = _value(run), run.metric == ACCURACY
        error = run.standard_error if is_accuracy else None
        axes.errorbar(value, y, xerr=error, capsize=2, elinewidth=1.2, markersize=5.5, **_style(y))
        place = axes.get_yaxis_transform()
        axes.text(1.02, y, f"{value:.4f}", transform=place, va="center", size=SMALL)
    axes.set_yticks(range(len(runs)), labels, fontsize=SMALL, multialignment="right")
    axes.set_ylim(len(runs) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.spines.left.set_visible(False)
    lines = [f"{metric_words(runs[0].metric)} on the validation images"]
    if is_accuracy:
        lines[0] += " ± standard error"
    elif not higher_is_better(runs[0].metric):
        lines[0] += " (lower is better)"
    if more:
        lines.append(f"and {more:,} more in runs.csv")
    if any(_is_on_other_images(run, runs[0]) for run in runs):
        lines.append("* validated on other images than the first")
    axes.set_xlabel("\n".join(lines), x=1, ha="right")
    _title(figure, TITLE)


def _curves(figure: SubFigure, runs: Sequence[RunResult]) -> None:
    axes = figure.subplots()
    for rank, run in reversed(list(enumerate(runs))):
        # The last epoch is always there.
        step = math.ceil(len(run.history) / MAX_POINTS) or 1
        epochs = run.history[::-1][::step][::-1]
        of_metric = attrgetter("valid_accuracy" if run.metric == ACCURACY else "metric")
        values = [math.nan if (v := of_metric(epoch)) is None else v for epoch in epochs]
        every = max(1, len(epochs) // 6)
        is_marked = rank < len(MARKERS)
        axes.plot(
            [epoch.epochs for epoch in epochs],
            values,
            markevery=(rank % every, every),
            markersize=4.5 if is_marked else 2.5,
            linewidth=1.2 if is_marked else 0.8,
            **_style(rank),
        )
    lengths = [len(run.history) for run in runs if run.history]
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if not lengths:
        place = axes.transAxes
        axes.text(0.5, 0.5, "no run has a history.csv", ha="center", transform=place)
    elif max(lengths) > WIDE * min(lengths):
        axes.set_xscale("log")
        _plain_numbers(axes)
    axes.set_xlabel("epoch (each run with its marker from above)")
    axes.set_ylabel(fit(metric_words(runs[0].metric), CURVES_HEIGHT - 0.6, 9))
    _title(figure, "Validation over the epochs")


def _settings(figure: SubFigure, runs: Sequence[RunResult], settings: Sequence[str]) -> None:
    columns = min(2, len(settings))
    panels = figure.subplots(math.ceil(len(settings) / 2), columns, sharey=True, squeeze=False)
    for axes in panels.flat[len(settings) :]:
        axes.set_visible(False)
    values = [_value(run) for run in runs]
    for axes, key in zip(panels.flat, settings, strict=False):
        places = _places(axes, key, runs)
        axes.scatter(places, values, s=22, color=light("series1"), alpha=0.7, linewidths=0)
        axes.plot(places[0], values[0], "*", markersize=11, color=light("series2"))
        axes.set_xlabel(fit(key.removeprefix("recipe."), 1.7, 9))
    for axes in panels[:, 0]:
        axes.set_ylabel(fit(metric_words(runs[0].metric), 1.2, 9))
    recipe = fit(_recipe(runs[0]), 1.2, 11.2)
    _title(figure, f"What varies in the runs of {recipe} (★: the best)")


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
    texts = [as_text(run.settings.get(key)) or "none" for run in runs]
    categories = sorted(set(texts))
    width = 1.7 / len(categories)
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


def _labels(runs: Sequence[RunResult]) -> list[str]:
    """Return a label of one or two lines for each run: its recipe, its changes and its seed."""
    seeds_differ = len({run.settings.get("seed") for run in runs}) > 1
    changes = [str(run.settings.get("run")).split("@") for run in runs]
    keys = {part.partition("=")[0] for _, *parts in changes for part in parts}
    same_end = Counter(key.removesuffix(".name").rpartition(".")[2] for key in keys)
    labels = []
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
        while words and text_width(f"{first}, {words[0]}") <= LABEL_WIDTH:
            first += f", {words.pop(0)}"
        labels.append(
            "\n".join(fit(line, LABEL_WIDTH) for line in (first, ", ".join(words)) if line)
        )
    return labels


def _is_on_other_images(run: RunResult, other: RunResult) -> bool:
    return bool(run.settings.get("split") != other.settings.get("split"))


def _title(figure: SubFigure, title: str) -> None:
    figure.suptitle(title, x=0.01, ha="left", size=10, weight="bold")


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
