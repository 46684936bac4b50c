"""All that a run has written, read for the report and the model card."""

import csv
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar

from imagepipe.checks.data_report import Report
from imagepipe.config.weights import WeightsRecord
from imagepipe.errors import UserError
from imagepipe.evaluation.captions import FIGURES
from imagepipe.evaluation.evaluation_file import Evaluation, TestPredictions, read_results
from imagepipe.files import file_hash

logger = logging.getLogger(__name__)

Content = TypeVar("Content")
# Raised for a file that is missing, damaged, or of another version.
UNREADABLE = (OSError, LookupError, TypeError, ValueError, UserError, csv.Error)
HASH_DIGITS = 64  # of a SHA-256


@dataclass(frozen=True)
class TrainingMetrics:
    """A metrics.json: accuracies in 0…1 after the last epoch, time and speed of all epochs."""

    epochs: int
    seconds: float
    examples_per_second: float
    train_accuracy: float
    train_loss: float
    device: str
    precision: str


@dataclass(frozen=True)
class Score:
    """A score.json: the submission's metric and accuracy on `images` test images."""

    metric: str
    value: float | None
    accuracy: float | None
    images: int


@dataclass(frozen=True)
class Table:
    """A CSV file: its columns, and its rows as {column: field}."""

    columns: Sequence[str]
    rows: Sequence[Mapping[str, str]]


@dataclass(frozen=True)
class FileHash:
    """A file's name, and the SHA-256 of its content."""

    name: str
    sha256: str


@dataclass(frozen=True)
class Run:
    """What the workflow knows about a run.

    `title` and `dataset` are the dataset's title and name, and `run` is the run's name. `seeds` are
    those of the final models; the first one was validated. `dataset_file`, `recipe` and `settings`
    are the options of these two, and the values of config.yaml.
    """

    title: str
    dataset: str
    run: str
    seeds: Sequence[int]
    dataset_file: Mapping[str, object]
    recipe: Mapping[str, object]
    settings: Mapping[str, object]


@dataclass(frozen=True, kw_only=True)
class RunFiles:
    """The files of a run that both the report and the model card show.

    evaluation and metrics are those of the validated training; final_metrics, models: those of the
    final ones, one a seed. sums: SHA256SUMS. figures: SVG files by their names in `FIGURES`; one
    that is not there is left out. record: that of the pretrained weights, if there are some.
    """

    evaluation: Path
    metrics: Path
    final_metrics: Sequence[Path]
    models: Sequence[Path]
    data_report: Path
    sums: Path
    figures: Mapping[str, Path]
    score: Path | None = None
    record: Path | None = None

    @classmethod
    def from_names(cls, names: Mapping[str, str | Sequence[str]]) -> Self:
        """Return the files of {name: path or paths}, where figures are among the other files."""
        paths: dict[str, Any] = {
            name: Path(value) if isinstance(value, str) else [Path(path) for path in value]
            for name, value in names.items()
        }
        figures = {name: paths.pop(name) for name in FIGURES if name in paths}
        return cls(**paths, figures=figures)


@dataclass(frozen=True, kw_only=True)
class ReportFiles(RunFiles):
    """The files that only the report shows; history and settings are the validated training's."""

    predictions: Path
    history: Path
    settings: Path
    runs: Path
    submission: Path


@dataclass(frozen=True)
class Results:
    """The results of a run. What could not be read, or is not there, is None."""

    run: Run
    evaluation: Evaluation
    metrics: TrainingMetrics
    finals: Sequence[TrainingMetrics]
    predictions: TestPredictions | None
    score: Score | None
    runs: Table | None
    data_report: Report | None
    pretrained: WeightsRecord | None = None

    @property
    def has_frozen_features(self) -> bool:
        """Whether the model is a head on the features of a frozen network."""
        model = self.run.recipe.get("model")
        return isinstance(model, dict) and "on" in model

    @property
    def members(self) -> int:
        """The number of final models, whose probabilities the submission averages."""
        return len(self.run.seeds)


def read_results_of_run(
    run: Run, files: RunFiles, predictions: Path | None = None, runs: Path | None = None
) -> Results:
    """Read a run's results. Raises `UserError` if evaluation or a metrics.json cannot be read."""
    return Results(
        run=run,
        evaluation=read_results(files.evaluation, Evaluation),
        metrics=read_results(files.metrics, TrainingMetrics),
        finals=[read_results(path, TrainingMetrics) for path in files.final_metrics],
        predictions=read_or_none(partial(read_results, kind=TestPredictions), predictions),
        score=read_or_none(read_score, files.score),
        runs=read_or_none(read_table, runs),
        data_report=read_or_none(read_data_report, files.data_report),
        pretrained=read_or_none(WeightsRecord.read, files.record),
    )


def read_or_none(read: Callable[[Path], Content], path: Path | None) -> Content | None:
    """Return what `read` returns of a file; None, with a warning, if it cannot be read."""
    if path is None:
        return None
    try:
        return read(path)
    except UNREADABLE as error:
        detail = " ".join(str(error).split())[:200]
        logger.warning("%s: left out, as it cannot be read (%s)", path, detail)
        return None


def read_score(path: Path) -> Score:
    """Read a score.json."""
    content = json.loads(path.read_text(encoding="utf-8"))
    name = content["metric"]
    return Score(name, content[name], content["accuracy"], content["n"])


def read_data_report(path: Path) -> Report:
    """Read the data check's report.json."""
    content: Report = json.loads(path.read_text(encoding="utf-8"))
    return content


def read_table(path: Path) -> Table:
    """Read a CSV file of any columns, such as runs.csv and history.csv."""
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file, restval="")
        rows = [{column: row[column] for column in reader.fieldnames or ()} for row in reader]
        return Table(reader.fieldnames or (), rows)


def read_sums(path: Path) -> list[FileHash]:
    """Read a SHA256SUMS file: a hash, two spaces and a name in each line."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [FileHash(line[HASH_DIGITS:].strip(), line[:HASH_DIGITS]) for line in lines if line]


def hash_of(path: Path) -> FileHash:
    """Return a file's path and hash."""
    return FileHash(str(path), file_hash(path))


def source_of(record: WeightsRecord) -> FileHash:
    """Return the origin of pretrained weights, and the hash of the file as it came."""
    return FileHash(record.origin, record.source_sha256)
