"""Made runs, with all that the report and the model card read."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from builders import dataset_options
from imagepipe.checks.data_check import DataFiles, make_report
from imagepipe.config.weights import WeightsRecord
from imagepipe.dataset.packed import read_packed
from imagepipe.dataset.submission_form import read_metric
from imagepipe.evaluation.evaluation_file import write_results
from imagepipe.evaluation.provenance import Provenance, StageCost
from imagepipe.evaluation.report_inputs import (
    ReportFiles,
    Results,
    Run,
    read_results_of_run,
)
from imagepipe.evaluation.test_predictions import summarize_predictions
from imagepipe.evaluation.validation_results import evaluate, find_rows
from imagepipe.metrics.decisions import NO_THRESHOLDS, Thresholds
from imagepipe.prediction.logits import read_labelled_predictions, read_predictions
from imagepipe.selection.run_results import read_runs
from imagepipe.selection.run_table import write_run_table
from report_builders import RECIPE, Case, Workspace, write_workspace

PROVENANCE = Provenance(
    [StageCost("train", 12.5, 800.0), StageCost("predict", 2.25, None)],
    {"python": "3.12.1", "torch": "2.9.0"},
    "0123abcd",
)


@dataclass(frozen=True)
class MadeRun:
    """A run: its files, the inputs of its report, and what the workflow knows about it."""

    space: Workspace
    inputs: ReportFiles
    run: Run
    thresholds: Thresholds
    provenance: Provenance = PROVENANCE


def make_run(folder: Path, case: Case, thresholds: Thresholds = NO_THRESHOLDS) -> MadeRun:
    """Write a run and all that comes before its report, without the figures."""
    space = write_workspace(folder, case)
    data, packed, run = space.data, space.packed, space.run()
    seeds = list(range(case.members))
    files = DataFiles(
        packed,
        data / "split.csv",
        packed / "duplicates.json",
        data / "classes.txt",
        data / "unmatched.csv",
    )
    report = make_report(files, None, None, several_labels=case.several_labels)
    (data / "report.json").write_text(json.dumps(report))
    predictions, labels = read_labelled_predictions(space.seed() / "train/valid_logits.npz")
    labelled = read_packed(packed / "labelled.npy", packed / "labelled.csv")
    rows = find_rows(predictions.ids.tolist(), labelled.ids)
    metric = read_metric(data / "metric.json")
    evaluation = evaluate(predictions, labels, rows, metric, thresholds)
    write_results(run / "evaluation.json", evaluation)
    members = [read_predictions(space.seed(seed) / "final/test_logits.npz") for seed in seeds]
    write_results(
        run / "test_predictions.json",
        summarize_predictions(members, labelled.labels, thresholds),
    )
    validated = [space.seed(run=number) / "train" for number in range(case.runs)]
    write_run_table(read_runs(validated), space.results / "runs.csv")
    train, score = space.seed() / "train", space.results / "score.json"
    inputs = ReportFiles(
        evaluation=run / "evaluation.json",
        predictions=run / "test_predictions.json",
        history=train / "history.csv",
        metrics=train / "metrics.json",
        settings=train / "run.yaml",
        final_metrics=[space.seed(seed) / "final/metrics.json" for seed in seeds],
        models=[space.seed(seed) / "final/model.safetensors" for seed in seeds],
        runs=space.results / "runs.csv",
        data_report=data / "report.json",
        sums=data / "raw/SHA256SUMS",
        submission=space.results / "submission.csv",
        figures={},
        score=score if score.is_file() else None,
    )
    known = Run(
        title=case.title,
        dataset="made",
        run=run.name,
        seeds=seeds,
        dataset_file=dataset_options("sample", title=case.title).model_dump(),
        recipe=RECIPE.model_dump(),
        settings={"dataset": "made", "seed": 0, "override": {"epochs": 12}},
    )
    return MadeRun(space, inputs, known, thresholds)


@pytest.fixture
def record() -> WeightsRecord:
    """The record of pretrained weights whose license and training images are known."""
    return WeightsRecord(
        package="timm",
        architecture="resnet18",
        package_version="1.0.31",
        origin="some.pth",
        source_sha256=64 * "a",
        sha256=64 * "b",
        pretrained_on="in1k",
        license="apache-2.0",
        mean=[0.5] * 3,
        std=[0.5] * 3,
        image_size=[224, 224],
        interpolation="bilinear",
        head_classes=1000,
    )


@pytest.fixture(scope="module")
def made_run(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., MadeRun]:
    """A function that makes a run."""

    def make(case: Case, thresholds: Thresholds = NO_THRESHOLDS) -> MadeRun:
        return make_run(tmp_path_factory.mktemp("run"), case, thresholds)

    return make


@pytest.fixture(scope="module")
def results(made_run: Callable[..., MadeRun]) -> Results:
    """What is read of a run with ten classes and some mistakes."""
    made = made_run(Case(tuple(f"class {letter}" for letter in "abcdefghij"), certainty=2.5))
    known = made.inputs
    return read_results_of_run(made.run, known, known.predictions, known.runs)
