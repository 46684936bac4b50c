"""The report about a run: one self-contained page that answers how good the network is.

Numbers carry their name and exact value, see `sentences.Number`.
"""

import datetime
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import yaml
from markupsafe import Markup, escape

from imagepipe.checks.data_report import render_section
from imagepipe.config.metric_names import metric_words
from imagepipe.config.weights import WeightsRecord
from imagepipe.display.escaping import as_yaml
from imagepipe.display.figures import inline_svg
from imagepipe.display.page import page_environment
from imagepipe.evaluation.answer import answer, facts
from imagepipe.evaluation.captions import FIGURES, read_caption
from imagepipe.evaluation.evaluation_file import Estimate, label_words
from imagepipe.evaluation.findings import (
    can_you_trust_it,
    how_good,
    position_of,
    where_it_fails,
)
from imagepipe.evaluation.provenance import Provenance, command, without_paths
from imagepipe.evaluation.report_inputs import (
    FileHash,
    ReportFiles,
    Run,
    Table,
    hash_of,
    read_or_none,
    read_results_of_run,
    read_sums,
    read_table,
    source_of,
)
from imagepipe.evaluation.sentences import Number, amount, decimal, percent, whole
from imagepipe.files import count_rows, text_of_field, write_text
from imagepipe.training.history import thinned

SECTIONS = (
    ("answer", "The answer"),
    ("learning", "Learning"),
    ("mistakes", "Mistakes"),
    ("confidence", "Confidence"),
    ("test", "Test images"),
    ("data", "Training data"),
    ("runs", "Runs"),
    ("origin", "How it came about"),
    ("methods", "Methods"),
)
# Rows of the table of epochs: of more epochs, it leaves some out.
EPOCHS_LISTED = 50
EPOCH_COLUMNS = {
    "epochs": "epoch",
    "train_loss": "train loss",
    "train_accuracy": "train accuracy",
    "valid_accuracy": "valid accuracy",
    "learning_rate": "learning rate",
    "seconds": "seconds",
}
EPOCH_COLUMNS_LEFT_OUT = ("examples_per_second", "device", "precision")
# Other columns have the digits of a loss or a metric.
EPOCH_FORMATS = {"learning_rate": "#.3g", "seconds": ".1f"}


def write_report(inputs: ReportFiles, run: Run, provenance: Provenance, target: Path) -> None:
    """Write the page. An input that cannot be read is left out, with a sentence.

    Raises `UserError` if that is the evaluation, or a metrics.json.
    """
    results = read_results_of_run(run, inputs, inputs.predictions, inputs.runs)
    environment = page_environment(Path(__file__).parent)
    environment.filters["estimate"] = estimate_cell
    report, submission = results.data_report, read_or_none(hash_of, inputs.submission)
    page = environment.get_template("report.html.j2").render(
        own_style=Markup(read_text(Path(__file__).with_suffix(".css"))),
        title=f"{run.title}: {run.run}",
        heading=run.title[:1].upper() + run.title[1:],
        sections=SECTIONS,
        section_names=dict(SECTIONS),
        run=run,
        results=results,
        evaluation=results.evaluation,
        provenance=provenance,
        answer=answer(results),
        facts=facts(results, inputs.models, provenance.costs),
        cards=[
            ("How good", how_good(results)),
            ("Where it fails", where_it_fails(results)),
            ("Can you trust it", can_you_trust_it(results)),
        ],
        names=FIGURES,
        metric_words=metric_words(results.evaluation.metric),
        captions={name: read_caption(name) for name in FIGURES},
        figures={
            name: read_or_none(partial(read_figure, name=name), inputs.figures.get(name))
            for name in FIGURES
        },
        trained=date_of(inputs.metrics),
        history=read_or_none(read_epochs, inputs.history),
        data_section=report and render_section(report, str(inputs.data_report), 1),
        runs=results.runs and describe_runs(results.runs, run),
        submission=submission,
        rows=submission and amount("submission.rows", count_rows(inputs.submission), "row"),
        files=files(inputs, submission, results.pretrained),
        command=command(run.settings),
        settings=as_yaml(without_paths(run.settings)),
        dataset_file=as_yaml(run.dataset_file),
        training_settings=read_or_none(read_settings, inputs.settings),
        label_words=label_words,
        decimal=decimal,
        percent=percent,
        whole=whole,
    )
    write_text(target, page.strip() + "\n")


def read_figure(path: Path, name: str) -> Markup:
    """Return a figure as an element of the page."""
    return Markup(inline_svg(path, FIGURES[name]))


@dataclass(frozen=True)
class Epochs:
    """A table of epochs: words for its columns, its fields, and how many epochs it leaves out."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Number | str]]
    left_out: int


def read_epochs(path: Path) -> Epochs:
    """Read a history.csv; of many epochs, leave out some, but not the last one."""
    table = read_table(path)
    names = [name for name in table.columns if name not in EPOCH_COLUMNS_LEFT_OUT]
    kept = thinned(table.rows, EPOCHS_LISTED)
    rows = [[epoch_cell(name, row[name], row["epochs"]) for name in names] for row in kept]
    words = [EPOCH_COLUMNS.get(name) or f"valid {metric_words(name)}" for name in names]
    return Epochs(words, rows, len(table.rows) - len(kept))


def epoch_cell(column: str, field: str, epoch: str) -> Number | str:
    """Return a field of history.csv for display."""
    if not field:
        return "–"
    name, value = f"epoch.{epoch}.{column}", float(field)
    if column == "epochs":
        return whole(name, int(field))
    if column.endswith("accuracy"):
        return percent(name, value)
    return Number(name, value, format(value, EPOCH_FORMATS.get(column, ".4f")))


@dataclass(frozen=True)
class RunTable:
    """The runs as the page shows them: numeric columns, and this run's position if it is there."""

    columns: Sequence[str]
    rows: Sequence[Mapping[str, str]]
    numeric: frozenset[str]
    own: int | None


def describe_runs(table: Table, run: Run) -> RunTable:
    """Return the table of runs with what the page needs to show it."""
    rows = [{column: text_of_field(field) for column, field in row.items()} for row in table.rows]
    numeric = {
        column
        for column in table.columns
        if any(row[column] for row in rows) and all(is_number(row[column]) for row in rows)
    }
    return RunTable(table.columns, rows, frozenset(numeric), position_of(run, table))


def is_number(field: str) -> bool:
    """Return whether a field is empty or a number."""
    try:
        return not field or math.isfinite(float(field))
    except ValueError:
        return False


def estimate_cell(estimate: Estimate, name: str) -> Markup:
    """Return a value with its interval, for a table's cell."""
    if estimate.value is None:
        return Markup("–")
    cell = escape(decimal(f"{name}.value", estimate.value, 3))
    if estimate.low is None or estimate.high is None:
        return cell
    low = decimal(f"{name}.low", estimate.low, 3)
    high = decimal(f"{name}.high", estimate.high, 3)
    return cell + Markup(" <small>{}–{}</small>").format(low, high)


def files(
    inputs: ReportFiles, submission: FileHash | None, pretrained: WeightsRecord | None
) -> list[tuple[str, FileHash]]:
    """Return the hashes of the dataset's files, the weights, the final models, the submission."""
    models = [read_or_none(hash_of, path) for path in inputs.models]
    return [
        *(("input", one) for one in read_or_none(read_sums, inputs.sums) or ()),
        *([("pretrained weights", source_of(pretrained))] if pretrained else []),
        *(("final model", one) for one in models if one),
        *([("submission", submission)] if submission else []),
    ]


def read_settings(path: Path) -> str:
    """Read a run.yaml, without the paths of the user's files."""
    text = read_text(path)
    settings = yaml.safe_load(text)
    shown = without_paths(settings)
    return text if shown == settings else as_yaml(shown)


def read_text(path: Path) -> str:
    """Read a text file."""
    return path.read_text(encoding="utf-8")


def date_of(path: Path) -> str:
    """Return when a file was written, such as "14 March 2026, 15:09"."""
    written = datetime.datetime.fromtimestamp(path.stat().st_mtime).astimezone()
    return f"{written.day} {written:%B %Y, %H:%M}"
