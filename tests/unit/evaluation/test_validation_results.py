"""Every number of evaluation.json is that of a plain computation from logits and labels."""

import json
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest

from builders import refused
from evaluation_builders import ACCURACY, drawn_evaluation, drawn_predictions
from imagepipe.dataset.submission_form import MetricChoice
from imagepipe.evaluation.bootstrap import bootstrap_interval
from imagepipe.evaluation.evaluation_file import Estimate, Evaluation, read_results, write_results
from imagepipe.evaluation.validation_results import decision_words, evaluate, find_rows
from imagepipe.metrics.decisions import NO_THRESHOLDS, Thresholds
from imagepipe.metrics.metric import compute_metric

ONE = Thresholds("one", (0.35,), "yes")
COMMON = Thresholds("one", (0.3,))
OWN = Thresholds("per_class", (0.3, 0.7, 0.45, 0.5), at_least_one=True)
ORDINAL = Thresholds("ordinal", (0.4, 1.7, 2.2))
ABSENT = tuple(range(0, 120, 5))
# The drawing of the predictions, their metric and their thresholds.
CASES: dict[str, tuple[dict, MetricChoice, Thresholds]] = {
    "10 classes": ({"images": 100, "classes": 10}, ACCURACY, NO_THRESHOLDS),
    "2 classes": (
        {"images": 60, "classes": ["no", "yes"]},
        MetricChoice("log_loss"),
        NO_THRESHOLDS,
    ),
    "120 classes, some without images": (
        {"images": 300, "classes": 120, "absent": ABSENT},
        MetricChoice("top_5_error"),
        NO_THRESHOLDS,
    ),
    "several labels": (
        {"images": 80, "classes": 6, "several_labels": True, "absent": (4,)},
        MetricChoice("f1_samples"),
        NO_THRESHOLDS,
    ),
    "several labels, a common threshold": (
        {"images": 80, "classes": 4, "several_labels": True},
        MetricChoice("f1_micro"),
        COMMON,
    ),
    "several labels, own thresholds": (
        {"images": 80, "classes": 4, "several_labels": True},
        MetricChoice("f1_macro"),
        OWN,
    ),
    "one class that may be there": (
        {"images": 50, "classes": 1, "several_labels": True},
        MetricChoice("f1_micro"),
        NO_THRESHOLDS,
    ),
    "a threshold": (
        {"images": 90, "classes": ["no", "yes"], "skill": 1.0},
        MetricChoice("f1", "yes"),
        ONE,
    ),
    "boundaries": (
        {"images": 90, "classes": ["0", "1", "2", "3"], "skill": 1.0},
        MetricChoice("quadratic_weighted_kappa"),
        ORDINAL,
    ),
    "one image": ({"images": 1, "classes": 3}, ACCURACY, NO_THRESHOLDS),
    "no mistakes": ({"images": 40, "classes": 4, "skill": 99.0}, ACCURACY, NO_THRESHOLDS),
    "all mistakes": ({"images": 40, "classes": 4, "skill": -99.0}, ACCURACY, NO_THRESHOLDS),
}


def plain_probabilities(logits: np.ndarray, several: bool) -> list[list[float]]:
    if several:
        return [[1 / (1 + math.exp(-x)) for x in row] for row in logits.astype(float)]
    rows = []
    for row in logits.astype(float):
        powers = [math.exp(x) for x in row]
        rows.append([one / sum(powers) for one in powers])
    return rows


def plain_decision(row: list[float], names: list[str], thresholds: Thresholds, several: bool):
    """Return the set of an image's classes; `thresholds` as the docstring of the class says."""
    likeliest = max(range(len(row)), key=lambda c: row[c])
    if several:
        limits = {
            "none": [0.5] * len(row),
            "one": list(thresholds.values) * len(row),
            "per_class": thresholds.values,
        }[thresholds.kind]
        chosen = {c for c in range(len(row)) if row[c] >= limits[c]}
        return chosen or ({likeliest} if thresholds.at_least_one else set())
    if thresholds.kind == "ordinal":
        expected = sum(p * float(name) for p, name in zip(row, names, strict=True))
        return {sum(expected >= value for value in thresholds.values)}
    if thresholds.kind == "one":
        return {1} if row[1] >= thresholds.values[0] else {0}
    return {likeliest}


def assert_proportion(found: Estimate, hits: int, trials: int) -> None:
    if trials == 0:
        assert (found.value, found.low, found.high) == (None, None, None)
        return
    interval = binomtest(hits, trials).proportion_ci(0.95, "wilson")
    assert found.value == pytest.approx(hits / trials)
    assert found.low == pytest.approx(interval.low, abs=1e-12)
    assert found.high == pytest.approx(interval.high, abs=1e-12)


@pytest.mark.parametrize("case", CASES)
def test_every_number(case: str) -> None:
    drawing, metric, thresholds = CASES[case]
    predictions, labels = drawn_predictions(**drawing)
    several, names = predictions.several_labels, predictions.classes.tolist()
    n, count = len(labels), len(names)
    result = evaluate(predictions, labels, range(n), metric, thresholds)
    rows = plain_probabilities(predictions.logits, several)
    truth = [
        {c for c in range(count) if label[c]} if several else {int(label)}
        for label in labels.tolist()
    ]
    plain = [plain_decision(row, names, NO_THRESHOLDS, several) for row in rows]
    decided = [plain_decision(row, names, thresholds, several) for row in rows]

    assert (result.images, result.classes, result.several_labels) == (n, names, several)
    assert_proportion(result.accuracy, sum(a == b for a, b in zip(plain, truth, strict=True)), n)
    right = [a == b for a, b in zip(decided, truth, strict=True)]
    assert_proportion(result.decision_accuracy, sum(right), n)
    assert result.mistake_count == n - sum(right)
    assert result.majority == max(Counter(map(frozenset, truth)).values()) / n

    assert result.metric == metric.name
    value = compute_metric(metric, predictions.probabilities(), labels, names, thresholds)
    assert result.metric_value.value == value
    if result.metric_value.low is not None and value is not None:
        assert result.metric_value.low <= value <= result.metric_value.high

    f1_values = []
    for c, one in enumerate(result.by_class):
        tp = sum(c in a and c in b for a, b in zip(truth, decided, strict=True))
        images, predicted = sum(c in a for a in truth), sum(c in b for b in decided)
        agreeing = sum((c in a) == (c in b) for a, b in zip(truth, decided, strict=True))
        assert (one.name, one.images, one.predicted, one.hits) == (names[c], images, predicted, tp)
        assert_proportion(one.precision, tp, predicted)
        assert_proportion(one.recall, tp, images)
        assert_proportion(one.accuracy, agreeing, n)
        if images + predicted == 0:
            assert one.f1.value is None
            f1_values += [0.0] if several else []
        else:
            assert one.f1.value == pytest.approx(2 * tp / (images + predicted))
            interval = binomtest(tp, images + predicted - tp).proportion_ci(0.95, "wilson")
            assert one.f1.low == pytest.approx(2 * interval.low / (1 + interval.low), abs=1e-12)
            assert one.f1.high == pytest.approx(2 * interval.high / (1 + interval.high))
            f1_values.append(one.f1.value)
    assert result.macro_f1.value == pytest.approx(sum(f1_values) / len(f1_values))

    pairs = Counter(
        (a, b)
        for true, guess in zip(truth, decided, strict=True)
        for a in true - guess
        for b in guess - true
    )
    images_of = Counter(c for true in truth for c in true)
    for one in result.confused:
        pair = names.index(one.true), names.index(one.predicted)
        assert one.images == pairs[pair]
        assert one.share == pytest.approx(pairs[pair] / images_of[pair[0]])
    assert [one.images for one in result.confused] == sorted(pairs.values(), reverse=True)[:20]
    if several or count > 20:
        assert result.confusion is None
    else:
        for a in range(count):
            for b in range(count):
                number = sum((t, d) == ({a}, {b}) for t, d in zip(truth, decided, strict=True))
                assert result.confusion[a][b] == number

    if several:
        confidences = [
            (p, c in true) for row, true in zip(rows, truth, strict=True) for c, p in enumerate(row)
        ]
    else:
        confidences = [(max(row), a == b) for row, a, b in zip(rows, plain, truth, strict=True)]
    assert result.calibration.mean_confidence == pytest.approx(
        sum(p for p, _ in confidences) / len(confidences)
    )
    assert result.calibration.accuracy == pytest.approx(
        sum(hit for _, hit in confidences) / len(confidences)
    )
    error = 0.0
    for m, one in enumerate(result.calibration.bins):
        members = [(p, hit) for p, hit in confidences if m / 15 < p <= (m + 1) / 15]
        assert one.predictions == len(members)
        if members:
            confidence = sum(p for p, _ in members) / len(members)
            accuracy = sum(hit for _, hit in members) / len(members)
            assert one.confidence == pytest.approx(confidence)
            assert one.accuracy == pytest.approx(accuracy)
            error += len(members) / len(confidences) * abs(confidence - accuracy)
    assert result.calibration.ece == pytest.approx(error)

    assert len(result.mistakes) == min(12, right.count(False))
    assert len(result.unsure_hits) == min(12, right.count(True))
    for shown, is_right in ((result.mistakes, False), (result.unsure_hits, True)):
        for one in shown:
            assert one.id == f"image {one.row}"
            assert right[one.row] == is_right
            for found, probability, chosen in (
                (one.predicted, one.probability, decided[one.row]),
                (one.true, one.true_probability, truth[one.row]),
            ):
                assert found == "|".join(names[c] for c in sorted(chosen))
                row = rows[one.row]
                states = [p if c in chosen else 1 - p for c, p in enumerate(row)]
                expected = sum(states) / count if several else row[min(chosen)]
                assert probability == pytest.approx(expected)


@pytest.mark.parametrize("case", CASES)
def test_the_file_has_all_of_it(case: str, tmp_path: Path) -> None:
    drawing, metric, thresholds = CASES[case]
    result = drawn_evaluation(metric=metric, thresholds=thresholds, **drawing)
    write_results(tmp_path / "evaluation.json", result)
    assert read_results(tmp_path / "evaluation.json", Evaluation) == result
    assert "NaN" not in (tmp_path / "evaluation.json").read_text()
    assert json.loads((tmp_path / "evaluation.json").read_text())["images"] == drawing["images"]


def test_rows_are_the_images_places_in_the_array() -> None:
    predictions, labels = drawn_predictions(50, 3, skill=0.0)
    packed_ids = [f"train {i}" for i in range(20)] + predictions.ids.tolist()[::-1]
    rows = find_rows(predictions.ids.tolist(), packed_ids)
    result = evaluate(predictions, labels, rows, ACCURACY)
    shown = [*result.mistakes, *result.unsure_hits]
    assert len(shown) == 24
    assert all(packed_ids[one.row] == one.id for one in shown)


def test_an_image_that_is_not_packed_is_an_error() -> None:
    with refused("image 7", "--forcerun pack"):
        find_rows(["image 7"], ["image 1"])


def test_intervals_of_proportions_are_wilsons() -> None:
    for name, successes in (("accuracy", 72), ("top_2_error", 9)):
        predictions, labels = drawn_predictions(100, 4)
        result = evaluate(predictions, labels, range(100), MetricChoice(name))
        value = compute_metric(
            MetricChoice(name), predictions.probabilities(), labels, predictions.classes.tolist()
        )
        assert value is not None
        successes = round(100 * value)
        assert_proportion(result.metric_value, successes, 100)
        assert result.interval_method == "Wilson score interval"


def test_the_interval_of_f1_is_that_of_its_class() -> None:
    result = drawn_evaluation(90, ["no", "yes"], metric=MetricChoice("f1", "yes"), thresholds=ONE)
    assert result.metric_value.value == pytest.approx(result.by_class[1].f1.value)
    assert result.metric_value.low == result.by_class[1].f1.low
    assert result.metric_value.high == result.by_class[1].f1.high
    assert result.interval_method == "Wilson score interval, transformed to F1"
    # Of two classes, the last one is the positive one.
    result = drawn_evaluation(90, ["no", "yes"], metric=MetricChoice("f1"))
    assert result.metric_value.low == result.by_class[1].f1.low


@pytest.mark.parametrize("name", ["log_loss", "f1_macro", "map_at_2", "mean_column_roc_auc"])
def test_intervals_of_other_metrics_are_the_bootstraps(name: str) -> None:
    predictions, labels = drawn_predictions(70, 4)
    result = evaluate(predictions, labels, range(70), MetricChoice(name))
    names = predictions.classes.tolist()
    low, high, resamples = bootstrap_interval(
        MetricChoice(name), predictions.probabilities(), labels, names
    )
    assert (result.metric_value.low, result.metric_value.high) == (low, high)
    assert result.interval_method == f"bootstrap over the images, {resamples:,} resamples"
    assert result.macro_f1_method == "bootstrap over the images, 1,000 resamples"


def test_no_interval_is_invented() -> None:
    result = drawn_evaluation(40, 4, skill=99.0)
    assert result.macro_f1 == Estimate(1.0, None, None)
    assert result.macro_f1_method.startswith("none: ")
    # The accuracy of few images still has one.
    assert result.accuracy.low is not None
    assert 0.85 < result.accuracy.low < 0.95
    undefined = drawn_evaluation(1, 3, metric=MetricChoice("roc_auc"))
    assert undefined.metric_value == Estimate(None, None, None)
    assert undefined.interval_method.startswith("none: ")


def test_thresholds_change_decisions_but_not_accuracy_and_calibration() -> None:
    classes = ["0", "1", "2", "3"]
    plain, moved = (
        drawn_evaluation(90, classes, skill=1.0, thresholds=one)
        for one in (NO_THRESHOLDS, Thresholds("ordinal", (0.1, 0.2, 0.3)))
    )
    assert plain.accuracy == plain.decision_accuracy == moved.accuracy
    assert plain.calibration == moved.calibration
    assert moved.decision_accuracy != plain.decision_accuracy
    assert moved.by_class != plain.by_class
    assert moved.mistake_count == 90 - round(90 * (moved.decision_accuracy.value or 0))


@pytest.mark.parametrize(
    ("thresholds", "several", "words"),
    [
        (NO_THRESHOLDS, False, "the likeliest class"),
        (NO_THRESHOLDS, True, "all classes with a probability of at least 0.5"),
        (ONE, False, "'yes' from a probability of 0.35 on, found on these images"),
        (COMMON, True, "all classes with a probability of at least 0.3, found on these images"),
        (
            OWN,
            True,
            "all classes with a probability of at least the class's own threshold, "
            "or else the likeliest one, found on these images",
        ),
        (ORDINAL, False, "the expected number, rounded at thresholds found on these images"),
    ],
)
def test_decisions_are_explained(thresholds: Thresholds, several: bool, words: str) -> None:
    assert decision_words(thresholds, several_labels=several) == words


def test_the_same_predictions_have_the_same_results() -> None:
    predictions, labels = drawn_predictions(60, 4)
    one, other = (
        evaluate(predictions, labels, range(60), MetricChoice("log_loss")) for _ in range(2)
    )
    assert one == other
    other_ids = replace(predictions, ids=predictions.ids[::-1])
    assert evaluate(other_ids, labels, range(60), ACCURACY) != one
