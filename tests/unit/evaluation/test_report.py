"""The report's page: its numbers are those of the logits, and nothing breaks it."""

import base64
import csv
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from scipy.stats import binomtest
from sklearn.metrics import f1_score

from imagepipe.config.metric_names import k_of_metric
from imagepipe.config.weights import WeightsRecord
from imagepipe.dataset.manifests import CLASS_SEPARATOR
from imagepipe.dataset.submission_form import MetricChoice, read_metric
from imagepipe.display.figures import new_figure, save_figure, styled
from imagepipe.errors import UserError
from imagepipe.evaluation.bootstrap import bootstrap_interval
from imagepipe.evaluation.captions import FIGURES, read_caption
from imagepipe.evaluation.intervals import f1_interval
from imagepipe.evaluation.report import SECTIONS, write_report
from imagepipe.metrics.decisions import Thresholds, decide
from imagepipe.metrics.metric import compute_metric
from imagepipe.models.model_files import load_model
from imagepipe.prediction.logits import read_labelled_predictions, read_predictions
from report_builders import Case

TEN = tuple(f"class {letter}" for letter in "abcdefghij")
MakeRun = Callable[..., Any]


@dataclass
class Page(HTMLParser):
    """What is in a page: its numbers by name, and its texts outside of them by section."""

    text: str
    numbers: dict[str, dict[str, list[tuple[float, str]]]] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    tags: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self.open: list[tuple[str, dict[str, str]]] = []
        self.feed(self.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.tags.append((tag, values))
        if tag not in ("meta", "link", "input", "br", "wbr", "path", "use"):
            self.open.append((tag, values))

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop()[0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        section = next((a["id"] for tag, a in self.open if tag == "section"), "")
        number = next((a for _, a in self.open if "data-name" in a), None)
        if number is not None:
            found = self.numbers.setdefault(section, {}).setdefault(number["data-name"], [])
            found.append((float(number["data-value"]), data))
        elif not any(
            tag in ("bdi", "style", "script") or "hash" in a.get("class", "") or "aria-hidden" in a
            for tag, a in self.open
        ):
            self.texts[section] = self.texts.get(section, "") + data

    @property
    def all_numbers(self) -> dict[str, list[tuple[float, str]]]:
        found: dict[str, list[tuple[float, str]]] = {}
        for section in self.numbers.values():
            for name, values in section.items():
                found.setdefault(name, []).extend(values)
        return found


def page_of(made: Any) -> Page:
    target = made.space.results / "report.html"
    write_report(made.inputs, made.run, made.provenance, target)
    return Page(target.read_text(encoding="utf-8"))


def interval(name: str, low: float | None, high: float | None) -> dict[str, float | None]:
    return {f"{name}.low": low, f"{name}.high": high}


def wilson(successes: int, trials: int, name: str) -> dict[str, float | None]:
    """Return a fraction and its interval, as SciPy computes it."""
    if not trials:
        return {f"{name}.value": None, **interval(name, None, None)}
    bounds = binomtest(successes, trials).proportion_ci(method="wilson")
    return {f"{name}.value": successes / trials, **interval(name, bounds.low, bounds.high)}


def expected_numbers(made: Any) -> dict[str, float | None]:
    """Return the numbers that the page may show, computed from logits, labels and other files."""
    space, case = made.space, made.space.case
    predictions, labels = read_labelled_predictions(space.seed() / "train/valid_logits.npz")
    probabilities = predictions.probabilities()
    classes, images = list(case.classes), len(labels)
    several = labels.ndim == 2
    decided = decide(probabilities, classes, made.thresholds, several_labels=several)
    plain = decide(probabilities, classes, several_labels=several)
    is_right = (decided == labels).reshape(images, -1).all(axis=1)
    plain_right = int((plain == labels).reshape(images, -1).all(axis=1).sum())
    rows = [tuple(np.atleast_1d(row)) for row in labels]
    majority = max(rows.count(row) for row in set(rows)) / images
    truth, guess = (
        one.astype(int) if several else np.eye(len(classes), dtype=int)[one]
        for one in (labels, decided)
    )
    metric, of_images = read_metric(space.data / "metric.json"), (probabilities, labels, classes)
    found: dict[str, float | None] = {
        "images": images,
        "classes": len(classes),
        "right": int(is_right.sum()),
        "wrong": int((~is_right).sum()),
        "majority": majority,
        "error_reduction": 1 - (1 - is_right.mean()) / (1 - majority) if majority < 1 else None,
        "unseen_classes": int((truth.sum(axis=0) == 0).sum()),
        "members": case.members,
        **wilson(plain_right, images, "accuracy"),
    }
    lowest = binomtest(int(is_right.sum()), images).proportion_ci(method="wilson").low
    found["most_wrong"] = 1 - lowest
    # The metric with its interval.
    value = compute_metric(metric, *of_images, made.thresholds)
    found["metric.value"] = value
    if metric.name == "accuracy" or (k_of_metric(metric.name) and "error" in metric.name):
        count = round((value or 0) * images)
        found |= {k: v for k, v in wilson(count, images, "metric").items() if "value" not in k}
    elif metric.name == "f1":
        hits, here, there = (int((one == 1).sum()) for one in (labels * decided, labels, decided))
        found |= interval("metric", *map(float, f1_interval(hits, here, there)[1:]))
    else:
        found |= interval("metric", *bootstrap_interval(metric, *of_images, made.thresholds)[:2])
    low, high = found["metric.low"], found["metric.high"]
    found["interval_width"] = None if low is None or high is None else high - low
    # The classes.
    for number, name in enumerate(classes):
        has, said = truth[:, number] == 1, guess[:, number] == 1
        hits, here, there = int((has & said).sum()), int(has.sum()), int(said.sum())
        prefix = f"class.{name}"
        found |= {f"{prefix}.images": here, f"{prefix}.predicted": there}
        found |= wilson(hits, there, f"{prefix}.precision")
        found |= wilson(hits, here, f"{prefix}.recall")
        found |= wilson(int((has == said).sum()), images, f"{prefix}.accuracy")
        f1 = f1_interval(hits, here, there)
        if here + there:
            found[f"{prefix}.f1.value"] = f1_score(has, said, zero_division=0)
            found |= interval(f"{prefix}.f1", float(f1[1]), float(f1[2]))
    macro = MetricChoice("f1_macro")
    found["macro_f1.value"] = f1_score(labels, decided, average="macro", zero_division=0)
    found |= interval("macro_f1", *bootstrap_interval(macro, *of_images, made.thresholds)[:2])
    return (
        found
        | expected_of_mistakes(probabilities, truth, guess, several=several)
        | expected_of_calibration(probabilities, labels, several=several)
        | expected_of_test(made)
        | expected_of_run(made, found["accuracy.value"])
    )


def expected_of_mistakes(
    probabilities: np.ndarray, truth: np.ndarray, guess: np.ndarray, *, several: bool
) -> dict[str, float | None]:
    """Return the numbers of confused pairs and of mistakes; truth, guess: 0 and 1 [N, classes]."""
    found: dict[str, float | None] = {}
    pairs = []
    for i in range(truth.shape[1]):
        for j in range(truth.shape[1]):
            taken = (truth[:, i] > guess[:, i]) & (guess[:, j] > truth[:, j])
            if i != j and taken.any():
                pairs.append((int(taken.sum()), taken.sum() / truth[:, i].sum()))
    for rank, (count, share) in enumerate(sorted(pairs, key=lambda pair: (-pair[0], -pair[1]))):
        found |= {f"confused.{rank}.images": count, f"confused.{rank}.share": share}
    # The probability that each class is there or not, as was decided.
    decided = np.where(guess == 1, probabilities, 1 - probabilities)
    true = np.where(truth == 1, probabilities, 1 - probabilities)
    if several:
        surest = np.where(guess != truth, decided, -1).max(axis=1)
        shown, shown_true = decided.mean(axis=1), true.mean(axis=1)
    else:
        surest = shown = (probabilities * guess).sum(axis=1)
        shown_true = (probabilities * truth).sum(axis=1)
    wrong = [row for row in np.argsort(-surest, kind="stable") if (guess[row] != truth[row]).any()]
    for rank, row in enumerate(wrong[:12]):
        found[f"mistakes.{rank}.probability"] = shown[row]
        found[f"mistakes.{rank}.true_probability"] = shown_true[row]
    return found


def expected_of_calibration(
    probabilities: np.ndarray, labels: np.ndarray, *, several: bool
) -> dict[str, float | None]:
    """Return the calibration error of Guo et al. (2017), and the numbers of the bins."""
    found: dict[str, float | None] = {}
    confidence = probabilities.ravel() if several else probabilities.max(axis=1)
    hit = labels.ravel() == 1 if several else probabilities.argmax(axis=1) == labels
    ece, rank = 0.0, 0
    for edge in range(15):
        inside = (confidence > edge / 15) & (confidence <= (edge + 1) / 15)
        if inside.any():
            mean, right = confidence[inside].mean(), hit[inside].mean()
            ece += inside.mean() * abs(mean - right)
            found[f"calibration.{rank}.predictions"] = int(inside.sum())
            found |= {f"calibration.{rank}.confidence": mean, f"calibration.{rank}.accuracy": right}
            rank += 1
    return found | {
        "calibration.ece": ece,
        "calibration.mean_confidence": confidence.mean(),
        "calibration.accuracy": hit.mean(),
        "calibration.difference": abs(confidence.mean() - hit.mean()),
    }


def expected_of_test(made: Any) -> dict[str, float | None]:
    """Return the numbers about the test images."""
    space, case = made.space, made.space.case
    seeds = range(case.members)
    files = [read_predictions(space.seed(seed) / "final/test_logits.npz") for seed in seeds]
    members = [one.probabilities() for one in files]
    mean = np.mean(members, axis=0)
    several, classes = case.several_labels, list(case.classes)
    decided = decide(mean, classes, made.thresholds, several_labels=several)
    own = [decide(one, classes, made.thresholds, several_labels=several) for one in members]
    same = np.all([(one == own[0]).reshape(len(mean), -1).all(1) for one in own if len(one)], 0)
    guess = decided if several else np.eye(len(classes), dtype=int)[decided]
    with (space.data / "labels.csv").open(encoding="utf-8", newline="") as file:
        labels = [row["label"] for row in csv.DictReader(file)]
    labelled = [label.split(CLASS_SEPARATOR) if several else [label] for label in labels]
    found: dict[str, float | None] = {
        "test.images": len(mean),
        "test.members": case.members,
        "test.agreement": float(same.mean()) if len(mean) else None,
    }
    if len(mean):
        confidence = np.where(decided, mean, 1 - mean).mean(axis=1) if several else None
        if confidence is None:
            confidence = mean[np.arange(len(mean)), decided]
        found["test.mean_confidence"] = confidence.mean()
    differences = []
    for number, name in enumerate(classes):
        count = int(guess[:, number].sum())
        share = count / max(len(mean), 1)
        labelled_share = sum(name in one for one in labelled) / len(labelled)
        prefix = f"test.class.{name}"
        found |= {f"{prefix}.predicted": count, f"{prefix}.share": share}
        found[f"{prefix}.labelled_share"] = labelled_share
        differences.append((abs(share - labelled_share), share, labelled_share))
    # The first of equals.
    _, share, labelled_share = max(differences, key=lambda one: one[0])
    found |= {"test.farthest.share": share, "test.farthest.labelled_share": labelled_share}
    found["test.farthest"] = abs(share - labelled_share)
    return found


def expected_of_run(made: Any, accuracy: float | None) -> dict[str, float | None]:
    """Return the numbers about the training and its data."""
    case, inputs = made.space.case, made.inputs
    metrics, *finals = (
        json.loads(path.read_text()) for path in (inputs.metrics, *inputs.final_metrics)
    )
    report = json.loads(inputs.data_report.read_text())
    score = json.loads(inputs.score.read_text()) if inputs.score else {}
    return {
        "epochs": metrics["epochs"],
        "train_accuracy": metrics["train_accuracy"],
        "gap": abs(metrics["train_accuracy"] - (accuracy or 0)),
        "train_seconds": metrics["seconds"],
        "images_per_second": metrics["examples_per_second"],
        "final_seconds": sum(one["seconds"] for one in finals),
        "all_seconds": 14.75,
        "train_images": case.train,
        "valid_images": case.valid,
        "test_images": case.test,
        "submission.rows": case.test,
        "attention": len(report["attention"]),
        "runs": case.runs,
        "rank": 1,
        "parameters": sum(one.numel() for one in load_model(inputs.models[0])[0].parameters()),
        **{f"stage.{one.stage}.seconds": one.seconds for one in made.provenance.costs},
        **{f"stage.{one.stage}.megabytes": one.megabytes for one in made.provenance.costs},
        "score.n": score.get("n"),
        "score.value": score.get(score.get("metric")),
        "score.accuracy": score.get("accuracy"),
        **score_interval(score),
    }


def score_interval(score: Mapping[str, Any]) -> dict[str, float | None]:
    """Return the bounds of a score that is a fraction of the test images."""
    metric = score.get("metric", "")
    if metric != "accuracy" and not metric.endswith("_error"):
        return {}
    found = wilson(round(score[metric] * score["n"]), score["n"], "score")
    return {name: value for name, value in found.items() if name != "score.value"}


CASES: dict[str, tuple[Any, ...]] = {
    "ten classes": (Case(TEN, certainty=2.5),),
    "several labels": (Case(TEN[:4], several_labels=True, metric="f1_samples"),),
    "several labels, thresholds": (
        Case(TEN[:4], several_labels=True, metric="f1_macro"),
        Thresholds("per_class", (0.2, 0.4, 0.6, 0.8), at_least_one=True),
    ),
    "log loss, three members": (Case(TEN, metric="log_loss", members=3, has_score=False),),
    "threshold of two classes": (
        Case(("no", "yes"), metric="f1", certainty=1),
        Thresholds("one", (0.7,), "yes"),
    ),
    "top-3 error": (Case(TEN, metric="top_3_error", certainty=1),),
    "classes without images": (Case(TEN, without_valid=4),),
    "no mistakes": (Case(TEN, certainty=80),),
    "one image": (Case(TEN[:2], train=12, valid=1, test=0),),
    "several runs": (Case(TEN, runs=3),),
}


@pytest.fixture(scope="module", params=CASES)
def made(request: pytest.FixtureRequest, made_run: MakeRun) -> Any:
    return made_run(*CASES[request.param])


@pytest.fixture(scope="module")
def ten(made_run: MakeRun) -> Any:
    return made_run(Case(TEN))


def test_every_number_equals_the_one_computed_from_logits_and_labels(made: Any) -> None:
    page, expected = page_of(made), expected_numbers(made)
    numbers = page.all_numbers
    answer = page.numbers["answer"]
    assert {"metric.value", "right", "calibration.ece", "epochs", "parameters"} <= {
        *answer,
        *({"metric.value"} if expected["metric.value"] is None else ()),
    }
    for name, shown in numbers.items():
        if name.startswith("epoch."):
            continue
        for value, text in shown:
            assert expected[name] is not None, name
            assert value == pytest.approx(expected[name], rel=1e-9, abs=1e-12), name
            assert_shown(value, text)
    for name in (f"class.{one}.{kind}" for one in made.space.case.classes for kind in ("images",)):
        assert name in numbers


def assert_shown(value: float, text: str) -> None:
    """Assert that a text is the value's, as a percentage, in points, or as a decimal."""
    if text.startswith(("under", "over")) or re.search(r"\d\s*(s|min|h)\b", text):
        return
    shown = re.match(r"-?[\d,]+(\.\d+)?", text)
    assert shown, text
    decimals = len(shown[0].partition(".")[2])
    scale = 100 if "%" in text or "point" in text else 1
    assert float(shown[0].replace(",", "")) == pytest.approx(
        scale * value, abs=0.5000001 * 10**-decimals
    )


def test_every_number_of_the_first_screen_has_its_exact_value(made: Any) -> None:
    text = page_of(made).texts["answer"]
    for harmless in ("95\N{NO-BREAK SPACE}%", "F1", "SHA-256", "top-3", "fp32", "Top-3"):
        text = text.replace(harmless, "")
    assert not re.findall(r"\S*\d\S*", text)


def test_the_numbers_of_the_epochs_are_those_of_the_history(ten: Any) -> None:
    numbers = page_of(ten).all_numbers
    with ten.inputs.history.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 12
    for row in rows:
        for name in ("train_loss", "train_accuracy", "valid_accuracy", "learning_rate"):
            ((value, _),) = numbers[f"epoch.{row['epochs']}.{name}"]
            assert value == float(row[name])


def test_of_many_epochs_the_last_is_there(ten: Any, tmp_path: Path) -> None:
    lines = ten.inputs.history.read_text().splitlines()
    rows = [f"{epoch},{lines[1].partition(',')[2]}" for epoch in range(1, 1001)]
    history = tmp_path / "history.csv"
    history.write_text("\n".join([lines[0], *rows]))
    page = page_of(replace(ten, inputs=replace(ten.inputs, history=history)))
    epochs = [name for name in page.all_numbers if re.fullmatch(r"epoch\.\d+\.epochs", name)]
    assert len(epochs) == 50
    assert "epoch.1000.epochs" in epochs
    assert "950 epochs between them are left out" in page.texts["learning"]


def test_what_was_run_is_at_the_top(ten: Any) -> None:
    page = page_of(ten)
    answer = page.text[page.text.index('id="answer"') : page.text.index('id="learning"')]
    for part in (
        "small_cnn",
        str(ten.inputs.submission),
        hashlib.sha256(ten.inputs.submission.read_bytes()).hexdigest(),
    ):
        assert part in answer
    ((_, seconds),) = page.numbers["answer"]["all_seconds"]
    assert seconds == "14.8\N{NO-BREAK SPACE}s"


def test_how_it_came_about_is_there(ten: Any) -> None:
    text = page_of(ten).text
    model = hashlib.sha256(ten.inputs.models[0].read_bytes()).hexdigest()
    for part in (model, "f" * 64, "train.zip", "0123abcd", "torch 2.9.0", "--config dataset=made"):
        assert part in text
    # The configuration, the dataset file and the training's settings, in full.
    for part in ("override:\n  epochs: 12", "title: made for a test", "name: small_cnn"):
        assert part in text


def test_the_path_of_the_users_files_is_not_told(ten: Any) -> None:
    settings = ten.run.settings | {"raw_dir": "/home/me/secret"}
    page = page_of(replace(ten, run=replace(ten.run, settings=settings)))
    assert "secret" not in page.text
    assert "raw_dir: FOLDER" in page.text


SECRET = "/home/me/secret/some.pth"
ON_FEATURES = {
    "name": "linear",
    "on": {"name": "timm", "architecture": "resnet18", "weights": SECRET},
}


def test_a_head_on_a_pretrained_network_is_told_without_the_users_path(
    ten: Any, tmp_path: Path, record: WeightsRecord
) -> None:
    path, settings = tmp_path / "record.json", tmp_path / "run.yaml"
    path.write_text(record.model_dump_json())
    recipe = ten.run.recipe | {"model": ON_FEATURES}
    settings.write_text(yaml.safe_dump({"run": "probe", "recipe": recipe}))
    run = replace(
        ten.run, recipe=recipe, settings=ten.run.settings | {"override": {"model": ON_FEATURES}}
    )
    inputs = replace(ten.inputs, record=path, settings=settings)
    page = page_of(replace(ten, run=run, inputs=inputs))
    assert "secret" not in page.text
    assert page.text.count("weights: FILE") == 3  # in the command, the configuration and run.yaml
    answer, origin = page.texts["answer"], page.texts["origin"]
    assert "If they were trained on some of the validation or test images" in answer
    assert "Of the training images, " in answer
    for part in ("linear on timm resnet18", "apache-2.0", "in1k"):
        assert part in page.text
    assert "pretrained weights" in origin
    assert 64 * "a" in page.text
    assert "There is no augmentation" in page.texts["data"]
    assert FIGURES["augmentation"] not in page.texts["data"]


def test_the_page_says_when_it_was_trained(ten: Any, tmp_path: Path) -> None:
    metrics = shutil.copy(ten.inputs.metrics, tmp_path)
    written = datetime(2026, 3, 4, 15, 9).astimezone().timestamp()
    os.utime(metrics, (written, written))
    page = page_of(replace(ten, inputs=replace(ten.inputs, metrics=Path(metrics))))
    assert "4 March 2026, 15:09" in page.text


def test_the_page_asks_for_nothing(ten: Any) -> None:
    page = page_of(ten)
    for _, attributes in page.tags:
        for name in ("src", "href", "xlink:href", "action", "poster", "data"):
            assert attributes.get(name, "#").startswith(("#", "data:"))
    assert "@import" not in page.text
    assert not re.search(r"url\((?!#)", page.text)
    ((_, policy),) = [one for one in page.tags if one[1].get("http-equiv")]
    assert "default-src 'none'" in policy["content"]
    (script,) = re.findall("<script>(.*?)</script>", page.text, flags=re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy["content"]


def test_links_have_targets(made: Any) -> None:
    page = page_of(made)
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = {a["href"][1:] for tag, a in page.tags if tag == "a"}
    assert {name for name, _ in SECTIONS} <= links <= set(ids)


def test_figures_are_in_the_page_with_names_and_captions(ten: Any, tmp_path: Path) -> None:
    figures = {}
    for name in FIGURES:
        figures[name] = tmp_path / f"{name}.svg"
        with styled():
            figure = new_figure()
            figure.text(0.1, 0.5, f"drawn: {name}")
            save_figure(figure, figures[name])
    page = page_of(replace(ten, inputs=replace(ten.inputs, figures=figures)))
    names = {attributes["aria-label"] for tag, attributes in page.tags if tag == "svg"}
    assert names == set(FIGURES.values())
    assert page.text.count("<figcaption>") == len(FIGURES)
    for name in FIGURES:
        assert f"drawn: {name}" in page.text
        assert read_caption(name) in page.text
    assert "could not be read" not in page.text


def test_every_caption_belongs_to_a_figure() -> None:
    folder = Path(write_report.__code__.co_filename).parent
    files = {path.name.split(".")[1] for path in folder.glob("captions.*.rst")}
    assert files == {*FIGURES, "report"}


OPTIONAL = {
    "predictions": "The predictions for the test images could not be read.",
    "history": "The history of the training could not be read.",
    "runs": "The table of runs could not be read.",
    "data_report": "The data check’s report could not be read.",
    "submission": "It could not be read.",
    "settings": "",
    "sums": "",
    "score": "No score of the test images is known here.",
}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (name, content)
        for name in OPTIONAL
        for content in (None, b"\xff\x00{rubbish")
        # Any bytes have a hash.
        if (name, content) == ("submission", None) or name != "submission"
    ],
)
def test_what_cannot_be_read_is_left_out(
    name: str, content: bytes | None, ten: Any, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    if content is not None:
        path.write_bytes(content)
    page = page_of(replace(ten, inputs=replace(ten.inputs, **{name: path})))
    assert OPTIONAL[name] in page.text
    assert "metric.value" in page.numbers["answer"]
    assert {section for section, _ in SECTIONS} <= set(page.texts)


def test_a_missing_model_or_figure_is_left_out(ten: Any, tmp_path: Path) -> None:
    inputs = replace(
        ten.inputs, models=[tmp_path / "none"], figures={"confusion": tmp_path / "none.svg"}
    )
    page = page_of(replace(ten, inputs=inputs))
    assert "The figure “Confusion of classes” could not be read." in page.text
    assert "parameters" not in page.numbers["answer"]


@pytest.mark.parametrize("name", ["evaluation", "metrics"])
def test_without_results_there_is_no_page(name: str, ten: Any, tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_text('{"from": "another version"}')
    made = replace(ten, inputs=replace(ten.inputs, **{name: path}))
    (ten.space.results / "report.html").unlink(missing_ok=True)
    with pytest.raises(UserError, match=r"results\.json: cannot be read; remove it"):
        page_of(made)
    assert not (ten.space.results / "report.html").exists()


HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror="alert(2)">',
    "x" * 300,
    "{{ 7 * 7 }} {0} %s",
    "two\nlines\x1b[31m \u202e turned",
)


def test_names_from_outside_are_text(made_run: MakeRun) -> None:
    def made_with(names: tuple[str, ...]) -> Page:
        made = made_run(Case(TEN[:5], title=names[0]))
        evaluation = made.inputs.evaluation.read_text()
        predictions = made.inputs.predictions.read_text()
        report = made.inputs.data_report.read_text()
        # A name with a line end cannot come through classes.txt, but through a damaged file.
        for before, after in zip(TEN[:5], names, strict=True):
            quoted = json.dumps(before), json.dumps(after)
            evaluation = evaluation.replace(*quoted)
            predictions = predictions.replace(*quoted)
            report = report.replace(*quoted)
        made.inputs.evaluation.write_text(evaluation)
        made.inputs.predictions.write_text(predictions)
        made.inputs.data_report.write_text(report)
        return page_of(replace(made, run=replace(made.run, run=names[1])))

    hostile, harmless = made_with(HOSTILE), made_with(TEN[:5])
    assert [tag for tag, _ in hostile.tags] == [tag for tag, _ in harmless.tags]
    assert not {"onerror", "x"} & {name for _, attributes in hostile.tags for name in attributes}
    assert "{{ 7 * 7 }} {0} %s" in hostile.text
    assert "x" * 61 not in re.sub(r'(title|data-name)="[^"]*"', "", hostile.text)
    for odd in ("\x1b", "\u202e"):
        assert odd not in hostile.text


def test_a_page_of_a_thousand_classes_is_not_large(made_run: MakeRun) -> None:
    names = tuple(f"species number {number} of a long list" for number in range(1000))
    made = made_run(Case(names, train=2000, valid=2000, test=100, height=8, width=8))
    assert len(page_of(made).text.encode()) < 4 << 20


def test_inputs_are_named_as_the_rule_names_them(ten: Any) -> None:
    assert {one.name for one in fields(ten.inputs)} == {
        *("evaluation", "predictions", "history", "metrics", "settings", "final_metrics"),
        *("models", "runs", "data_report", "sums", "submission", "figures", "score"),
        "record",
    }
