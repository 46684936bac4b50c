"""What the stages before the report write, for any classes and images, without a training.

The same arguments give the same bytes. Logits are drawn so that most predictions are right.
"""

import contextlib
import json
import runpy
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from PIL import Image

from builders import SCRIPTS, dataset_options
from imagepipe.checks.duplicates import write_duplicates
from imagepipe.config.recipe import Recipe, SmallCNN
from imagepipe.dataset.channels import Channels, write_channels
from imagepipe.dataset.manifests import CLASS_SEPARATOR
from imagepipe.dataset.submission_form import (
    MetricChoice,
    SubmissionForm,
    write_metric,
    write_submission_form,
)
from imagepipe.files import write_rows
from imagepipe.metrics.metric import compute_metric
from imagepipe.models.create import create_model
from imagepipe.models.model_files import ModelDescription, save_model
from imagepipe.prediction.logits import Predictions, write_predictions
from imagepipe.training.history import EpochMetrics, write_history, write_metrics

DATASET = "made"
RECIPE = Recipe.checked(
    {"model": {"name": "small_cnn", "width": 4}, "augmentation": {"horizontal_flip": True}},
    "recipe",
)
EPOCHS = 12
# Of the test images, only these have pixels; their predictions are the surest and the least sure.
DRAWN_TEST_IMAGES = 60


@dataclass(frozen=True)
class Case:
    """A dataset and its runs. `without_valid` classes, the last, have no validation images.

    `certainty` is how much more likely the true class is than the others, in logits: about 4 gives
    a few mistakes, 50 none.
    """

    classes: Sequence[str]
    several_labels: bool = False
    train: int = 240
    valid: int = 100
    test: int = 120
    height: int = 32
    width: int = 32
    grey: bool = False
    members: int = 1
    runs: int = 1
    metric: str = "accuracy"
    without_valid: int = 0
    certainty: float = 4.0
    has_score: bool = True
    title: str = "made for a test"


@dataclass(frozen=True)
class Workspace:
    """The folders of a made dataset and its runs below a working directory."""

    folder: Path
    case: Case

    @property
    def data(self) -> Path:
        return self.folder / "data" / DATASET

    @property
    def packed(self) -> Path:
        return self.data / "packed" / f"{self.case.height}x{self.case.width}"

    @property
    def results(self) -> Path:
        return self.folder / "results" / DATASET

    @property
    def logs(self) -> Path:
        return self.folder / "logs" / DATASET

    def run(self, number: int = 0) -> Path:
        return self.results / (f"small@optimizer.lr={number / 1000}" if number else "small")

    def seed(self, seed: int = 0, run: int = 0) -> Path:
        return self.run(run) / f"seed{seed}"


def picture(random: np.random.Generator, height: int, width: int, *, grey: bool) -> np.ndarray:
    """Return an image like a photo in its sizes, uint8 [height, width, 3]: soft spots of color."""
    spots = random.integers(0, 256, (5, 6, 3), dtype=np.uint8)
    image = Image.fromarray(spots).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(image.convert("L").convert("RGB") if grey else image)


def made_labels(case: Case, random: np.random.Generator, images: int, classes: int) -> np.ndarray:
    """Return labels of the first `classes`, in turn: int [N], or 0 and 1 [N, all classes]."""
    if case.several_labels:
        likely = np.zeros(len(case.classes))
        likely[:classes] = 1.5 / classes
        return (random.random((images, len(case.classes))) < likely).astype(np.int64)
    return np.arange(images) % classes


def label_text(case: Case, label: np.ndarray) -> str:
    if case.several_labels:
        return CLASS_SEPARATOR.join(case.classes[number] for number in np.flatnonzero(label))
    return case.classes[int(label)]


def made_logits(case: Case, random: np.random.Generator, labels: np.ndarray) -> np.ndarray:
    """Return logits float32 [N, classes]; where they are wrong, a neighbor is most often likely."""
    logits = random.normal(0, 1.3, (len(labels), len(case.classes)))
    if case.several_labels:
        logits += case.certainty * (labels - 0.5) - 0.5
    else:
        rows = np.arange(len(labels))
        logits[rows, labels] += case.certainty
        logits[rows, (labels + 1) % len(case.classes)] += case.certainty / 3
    return logits.astype(np.float32)


def write_workspace(folder: Path, case: Case) -> Workspace:
    """Write what the stages up to `score` leave in a working directory."""
    space = Workspace(folder, case)
    random = np.random.default_rng(0)
    labelled = case.train + case.valid
    valid_classes = len(case.classes) - case.without_valid
    train_labels = made_labels(case, random, case.train, len(case.classes))
    valid_labels = made_labels(case, random, case.valid, valid_classes)
    labels = np.concatenate([train_labels, valid_labels])
    ids = [f"image-{number:05d}" for number in range(labelled)]
    texts = [label_text(case, label) for label in labels]
    splits = ["train"] * case.train + ["valid"] * case.valid
    _write_tables(space, ids, texts, splits)
    _write_arrays(space, random, labelled)
    probabilities = Predictions(
        np.array(ids[case.train :]),
        made_logits(case, random, valid_labels),
        np.array(case.classes),
        case.several_labels,
    )
    for run in range(case.runs):
        _write_validated(space, run, probabilities, valid_labels)
    for seed in range(case.members):
        _write_final(space, seed, random)
    _write_submission(space)
    return space


def _write_tables(
    space: Workspace, ids: Sequence[str], texts: Sequence[str], splits: Sequence[str]
) -> None:
    case, data, packed = space.case, space.data, space.packed
    packed.mkdir(parents=True)
    (data / "classes.txt").write_text("".join(f"{name}\n" for name in case.classes))
    write_rows(data / "labels.csv", ("id", "label"), zip(ids, texts, strict=True))
    write_rows(data / "split.csv", ("id", "label", "split"), zip(ids, texts, splits, strict=True))
    write_rows(data / "unmatched.csv", ("id", "problem"), [])
    rows = zip(range(len(ids)), ids, texts, strict=True)
    write_rows(packed / "labelled.csv", ("row", "id", "label"), rows)
    tests = [f"test-{number:06d}" for number in range(case.test)]
    write_rows(
        packed / "test.csv",
        ("row", "id", "label"),
        ((row, name, "unknown") for row, name in enumerate(tests)),
    )
    write_rows(data / "test.csv", ("id", "submission_id"), zip(tests, tests, strict=True))
    write_metric(data / "metric.json", MetricChoice(case.metric))
    write_submission_form(data / "submission_form.json", SubmissionForm("label", ("id", "label")))
    mode = "L" if case.grey else "RGB"
    decoded = {
        name: {
            "formats": {f"JPEG {mode} {case.width}×{case.height}": count},
            "undecodable": [],
            "salvaged": [],
        }
        for name, count in (("labelled", len(ids)), ("test", case.test))
    }
    (packed / "decoded.json").write_text(json.dumps(decoded))
    (data / "raw").mkdir()
    (data / "raw/SHA256SUMS").write_text(f"{'0' * 64}  train.zip\n{'f' * 64}  labels.csv\n")


def _write_arrays(space: Workspace, random: np.random.Generator, labelled: int) -> None:
    case = space.case
    for name, images, drawn in (
        ("labelled", labelled, labelled),
        ("test", case.test, min(case.test, DRAWN_TEST_IMAGES)),
    ):
        shape = (images, case.height, case.width, 3)
        # What is not written takes no room on the disk.
        array = np.lib.format.open_memmap(space.packed / f"{name}.npy", "w+", np.uint8, shape)
        for row in range(drawn):
            array[row] = picture(random, case.height, case.width, grey=case.grey)
        array.flush()
    write_channels(space.packed / "channels.json", Channels([0.5] * 3, [0.2] * 3))
    if case.test <= DRAWN_TEST_IMAGES:
        write_duplicates(space.packed, space.packed / "duplicates.json")
    else:
        # All others are black, and so the same.
        (space.packed / "duplicates.json").write_text('{"groups": []}')


def _write_training(
    case: Case,
    folder: Path,
    run: int,
    seed: int,
    valid: int = 0,
    metric: tuple[str, float | None] | None = None,
    accuracy: float = 0,
) -> None:
    """Write history.csv, metrics.json and run.yaml; `metric` is None without validation."""
    epochs = [
        EpochMetrics(
            epochs=epoch,
            train_loss=0.3 + 1.9 / epoch + 0.02 * seed,
            train_accuracy=0.98 - 0.7 / epoch,
            valid_accuracy=accuracy * (epoch / EPOCHS) ** 0.4 if metric else None,
            learning_rate=0.1 * (1 - epoch / EPOCHS),
            examples_per_second=480.0 + epoch,
            seconds=1.5 + 0.1 * seed,
            device="cpu",
            precision="fp32",
            metric_name=metric and metric[0],
            metric=None if not metric or metric[1] is None else metric[1] * (epoch / EPOCHS) ** 0.3,
        )
        for epoch in range(1, EPOCHS + 1)
    ]
    write_history(folder / "history.csv", epochs)
    write_metrics(folder / "metrics.json", epochs, valid)
    recipe = RECIPE.model_dump()
    recipe["optimizer"]["lr"] = run / 1000 or recipe["optimizer"]["lr"]
    settings = {"run": folder.parents[1].name, "split": "38466edbe9fd", "recipe": recipe}
    settings |= {"seed": seed, "mean": [0.5] * 3, "std": [0.2] * 3}
    settings |= {"several_labels": case.several_labels, "interpolation": "bilinear"}
    (folder / "run.yaml").write_text(yaml.safe_dump(settings, sort_keys=False))


def _write_validated(
    space: Workspace, run: int, predictions: Predictions, labels: np.ndarray
) -> None:
    case, folder = space.case, space.seed(run=run) / "train"
    write_predictions(folder / "valid_logits.npz", predictions, labels)
    value, accuracy = (
        compute_metric(MetricChoice(name), predictions.probabilities(), labels, case.classes)
        for name in (case.metric, "accuracy")
    )
    assert accuracy is not None
    _write_training(case, folder, run, 0, case.valid, (case.metric, value), accuracy - 0.005 * run)
    if run == 0:
        _write_model(space, folder / "model.safetensors")


def _write_model(space: Workspace, path: Path) -> None:
    case = space.case
    torch.manual_seed(0)
    size = [case.height, case.width]
    description = ModelDescription(
        model=SmallCNN(name="small_cnn", width=4),
        classes=list(case.classes),
        several_labels=case.several_labels,
        stored_size=size,
        fit="squash",
        image_size=size,
        mean=[0.5] * 3,
        std=[0.2] * 3,
        test_time_augmentation="none",
    )
    save_model(path, create_model(description.model, len(case.classes)), description)


def _write_final(space: Workspace, seed: int, random: np.random.Generator) -> None:
    case, folder = space.case, space.seed(seed) / "final"
    labels = made_labels(case, random, case.test, len(case.classes))
    logits = made_logits(case, random, labels)
    # So that grids of pictures show those that have pixels.
    half = DRAWN_TEST_IMAGES // 2
    logits[:half] *= 0.05
    logits[half:DRAWN_TEST_IMAGES] *= 5
    ids = np.array([f"test-{number:06d}" for number in range(case.test)], dtype=np.str_)
    predictions = Predictions(ids, logits, np.array(case.classes), case.several_labels)
    write_predictions(folder / "test_logits.npz", predictions)
    _write_training(case, folder, 0, seed)
    _write_model(space, folder / "model.safetensors")


def _write_submission(space: Workspace) -> None:
    case, results = space.case, space.results
    rows = ((f"test-{number:06d}", case.classes[0]) for number in range(case.test))
    write_rows(results / "submission.csv", ("id", "label"), rows)
    if case.has_score and case.test:
        score = {"metric": case.metric, case.metric: 0.81, "accuracy": 0.81, "n": case.test}
        (results / "score.json").write_text(json.dumps(score))


class Named(dict[str, Any]):
    """Files or options by their names, as in the object `snakemake`."""

    def __getattr__(self, name: str) -> Any:
        return self[name]


def figures(folder: Path, *names: str) -> dict[str, Path]:
    """Return the outputs of figures, as the rules name them."""
    endings = {"": ".svg", "_png": ".png"}
    return {f"{n}{key}": folder / f"{n}{ending}" for n in names for key, ending in endings.items()}


def run_script(rule: str, space: Workspace, options: Any, inputs: Any, outputs: Any) -> float:
    """Run a rule's script in this process, and return how long it took, in seconds."""

    def as_text(files: dict[str, Any]) -> Named:
        paths = {
            name: [str(path) for path in value] if isinstance(value, list) else str(value)
            for name, value in files.items()
        }
        return Named(**paths)

    snakemake = Named(
        rule=rule,
        input=as_text(inputs),
        output=as_text(outputs),
        params=Named(options=json.dumps(options), code="a hash"),
        log=[str(space.logs / f"{rule}.log")],
        config={"device": "cpu"},
        resources=Named(gpu=0, nodes=1),
        threads=1,
        wildcards=Named(run=space.run().name),
    )
    start = time.perf_counter()
    runpy.run_path(str(SCRIPTS / f"{rule}.py"))["main"](snakemake)
    seconds = time.perf_counter() - start
    space.logs.mkdir(parents=True, exist_ok=True)
    (space.logs / f"{rule}.benchmark.tsv").write_text(f"s\th:m:s\n{seconds:.2f}\t0:00:00\n")
    return seconds


def build_report(space: Workspace) -> dict[str, float]:
    """Run the stages from the data check to the report and the model card.

    Returns the seconds of each.
    """
    with contextlib.chdir(space.folder):
        return _build_report(Workspace(Path(), space.case))


def _build_report(space: Workspace) -> dict[str, float]:
    case, data, packed, results = space.case, space.data, space.packed, space.results
    run, validated = space.run(), space.seed() / "train"
    pictures, seeds = run / "figures", list(range(case.members))
    dataset = dataset_options("sample", title=case.title, mean=None, std=None)
    settings: dict[str, Any] = {"title": case.title, "dataset": DATASET, "run": run.name}
    settings |= {"dataset_file": dataset.model_dump(), "seeds": seeds}
    settings["recipe"] = RECIPE.model_dump(exclude={"members"})
    labelled = {"labelled": packed / "labelled.npy", "labelled_table": packed / "labelled.csv"}
    test = {"test": packed / "test.npy", "test_table": packed / "test.csv"}
    split = {"split": data / "split.csv"}
    channels = {"channels": packed / "channels.json"}
    classes, unmatched = data / "classes.txt", data / "unmatched.csv"
    data_report = {
        f"report_{ending}": data / f"report.{ending}" for ending in ("json", "md", "html")
    }
    of_data = {"decoded": packed / "decoded.json", "duplicates": packed / "duplicates.json"}
    of_data |= {"classes": classes, "unmatched": unmatched}
    evaluation = {"evaluation": run / "evaluation.json"}
    predictions = {"predictions": run / "test_predictions.json"}
    of_evaluation = ("confusion", "classes", "reliability", "mistakes", "unsure")
    of_test = ("test_predictions", "test_pictures")
    seconds: dict[str, float] = {}

    def do(rule: str, options: Any, inputs: dict[str, Any], outputs: dict[str, Any]) -> None:
        seconds[rule] = run_script(rule, space, options, inputs, outputs)

    do(
        "check_data",
        {"mean": None, "std": None, "several_labels": case.several_labels},
        labelled | test | split | channels | of_data,
        data_report | figures(data / "figures", "class_balance"),
    )
    do(
        "runs",
        {"runs": [(space.run(number).name, 0) for number in range(case.runs)]},
        {"metrics": validated / "metrics.json", "settings": validated / "run.yaml"},
        {"table": results / "runs.csv"} | figures(results / "figures", "comparison"),
    )
    do(
        "curves",
        {"run": run.name, "seeds": seeds},
        {
            "validated": validated / "history.csv",
            "final": [space.seed(seed) / "final/history.csv" for seed in seeds],
        },
        figures(pictures, "learning_curves"),
    )
    do(
        "augmentation",
        {},
        labelled | split | {"settings": validated / "run.yaml", "classes": classes},
        figures(pictures, "augmentation"),
    )
    do(
        "evaluate",
        {},
        labelled | {"valid_logits": validated / "valid_logits.npz", "metric": data / "metric.json"},
        evaluation | figures(pictures, *of_evaluation),
    )
    do(
        "saliency",
        {},
        evaluation | labelled | {"model": validated / "model.safetensors"},
        figures(pictures, "saliency"),
    )
    do(
        "test_predictions",
        {},
        test
        | {"logits": [space.seed(seed) / "final/test_logits.npz" for seed in seeds]}
        | {"labelled_table": labelled["labelled_table"]},
        predictions | figures(pictures, *of_test),
    )
    score = results / "score.json"
    of_page = ("learning_curves", "augmentation", *of_evaluation, "saliency", *of_test)
    of_run = {
        **evaluation,
        "metrics": validated / "metrics.json",
        "final_metrics": [space.seed(seed) / "final/metrics.json" for seed in seeds],
        "models": [space.seed(seed) / "final/model.safetensors" for seed in seeds],
        "data_report": data / "report.json",
        "sums": data / "raw/SHA256SUMS",
        **({"score": score} if score.is_file() else {}),
        **{name: pictures / f"{name}.svg" for name in of_page},
        "class_balance": data / "figures/class_balance.svg",
    }
    graph = {"train": ["pack"], "pack": [], "evaluate": ["train"], "report": ["evaluate", "train"]}
    do(
        "report",
        settings | {"graph": graph, "logs": str(space.logs)},
        of_run
        | predictions
        | {
            "history": validated / "history.csv",
            "settings": validated / "run.yaml",
            "comparison": results / "figures/comparison.svg",
            "runs": results / "runs.csv",
            "submission": results / "submission.csv",
        },
        {"report": results / "report.html"} | figures(results / "figures", "times", "workflow"),
    )
    do("model_card", settings, of_run, {"card": run / "model_card.md"})
    return seconds
