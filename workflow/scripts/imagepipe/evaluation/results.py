"""All that a run has written, read for the report and the model card."""

import csv
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pydantic

from imagepipe.checks.data_report import Report
from imagepipe.errors import UserError
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

    @property
    def members(self) -> int:
        """The number of final models, whose probabilities the submission averages."""
        return len(self.run.seeds)


def read_run(
    run: Run,
    evaluation: Path,
    metrics: Path,
    final_metrics: Sequence[Path],
    data_report: Path,
    *,
    score: Path | None = None,
    predictions: Path | None = None,
    runs: Path | None = None,
) -> Results:
    """Read a run's results. Raises `UserError` if evaluation or a metrics.json cannot be read."""
    return Results(
        run=run,
        evaluation=read_evaluation(evaluation),
        metrics=read_metrics(metrics),
        finals=[read_metrics(path) for path in final_metrics],
        predictions=read_or_none(read_predictions, predictions),
        score=read_or_none(read_score, score),
        runs=read_or_none(read_table, runs),
        data_report=read_or_none(read_data_report, data_report),
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


def read_metrics(path: Path) -> TrainingMetrics:
    """Read a metrics.json. Raises `UserError` if it cannot be read."""
    try:
        return pydantic.TypeAdapter(TrainingMetrics).validate_json(path.read_bytes())
    except pydantic.ValidationError:
        raise UserError(f"{path}: cannot be read; remove it, and call again") from None


def read_evaluation(path: Path) -> Evaluation:
    """Read an evaluation.json. Raises `UserError` if it cannot be read."""
    return read_results(path, Evaluation)


def read_predictions(path: Path) -> TestPredictions:
    """Read a test_predictions.json. Raises `UserError` if it cannot be read."""
    return read_results(path, TestPredictions)


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
