"""The submission: its form, its rows, and the mean over several models."""

import csv
import hashlib
from pathlib import Path

import numpy as np
import pytest

from builders import refused
from imagepipe.dataset.submission_form import SubmissionForm
from imagepipe.metrics.decisions import NO_THRESHOLDS, Thresholds
from imagepipe.prediction.logits import Predictions
from imagepipe.submission.submission import check_submission, write_submission

CLASSES = ("cat", "dog", "frog")
LABEL = SubmissionForm("label", ("id", "label"))
PROBABILITIES = SubmissionForm("probabilities", ("id", *CLASSES), CLASSES)
TOP_2 = SubmissionForm("top_k", ("id", "best"), k=2, separator=" ")
SEVERAL = SubmissionForm("several_labels", ("id", "tags"), separator=" ")


def predictions(
    logits: list[list[float]],
    ids: tuple[str, ...],
    classes: tuple[str, ...] = CLASSES,
    several: bool = False,
) -> Predictions:
    array = np.array(logits, dtype=np.float32)
    return Predictions(np.array(ids), array, np.array(classes), several)


def certain(ids: tuple[str, ...]) -> Predictions:
    """Return predictions of the classes in turn."""
    return predictions([[9.0 * (n % 3 == c) for c in range(3)] for n in range(len(ids))], ids)


def likely(*probabilities: list[float], classes: tuple[str, ...] = CLASSES) -> Predictions:
    """Return predictions of these probabilities, for the images 1, 2, …"""
    ids = tuple(str(1 + n) for n in range(len(probabilities)))
    return predictions(np.log(probabilities).tolist(), ids, classes)


def tagged(*probabilities: list[float]) -> Predictions:
    """Return predictions of several labels with these probabilities."""
    p = np.array(probabilities)
    ids = tuple(str(1 + n) for n in range(len(p)))
    return predictions(np.log(p / (1 - p)).tolist(), ids, several=True)


def submitted(
    folder: Path,
    models: list[Predictions],
    form: SubmissionForm = LABEL,
    test: dict[str, str] | None = None,
    thresholds: Thresholds = NO_THRESHOLDS,
) -> list[str]:
    """Write a submission, and return its lines; `test` maps the images' ids to the written ones."""
    test = {i: i for i in models[0].ids.tolist()} if test is None else test
    with (folder / "test.csv").open("w") as file:
        csv.writer(file).writerows([("id", "submission_id"), *test.items()])
    target = folder / "results/submission.csv"
    write_submission(models, form, folder / "test.csv", target, thresholds)
    content = target.read_bytes()
    assert content.endswith(b"\n")
    assert b"\r" not in content
    return content.decode().splitlines()


def test_rows_follow_the_table_of_test_images_and_not_the_predictions(tmp_path: Path) -> None:
    test = {"200": "200.jpg", "3": "3.jpg", "10": "10.jpg"}
    form = SubmissionForm("label", ("Id", "Animal"))
    lines = submitted(tmp_path, [certain(("3", "10", "200"))], form, test)
    assert lines == ["Id,Animal", "200.jpg,frog", "3.jpg,cat", "10.jpg,dog"]


def test_images_that_are_not_asked_for_are_left_out(tmp_path: Path) -> None:
    lines = submitted(tmp_path, [certain(("3", "10", "200"))], test={"10": "10"})
    assert lines == ["id,label", "10,dog"]


def test_an_image_without_prediction_is_refused(tmp_path: Path) -> None:
    with refused("test.csv", "row 3", "'2'", "no prediction"):
        submitted(tmp_path, [certain(("1",))], test={"1": "1", "2": "2"})
    assert not (tmp_path / "results/submission.csv").exists()


def test_members_are_averaged_by_probability_and_not_by_logit(tmp_path: Path) -> None:
    """One member is sure of dog, two lean towards cat: the mean of the logits would be dog."""
    logits = [[0.0, 20.0], [2.0, 0.0], [2.5, 0.0]]
    assert np.mean(logits, axis=0).argmax() == 1
    models = [predictions([one], ("1",), ("cat", "dog")) for one in logits]
    assert submitted(tmp_path, models) == ["id,label", "1,cat"]
    form = SubmissionForm("probabilities", ("id", "cat", "dog"), ("cat", "dog"))
    _, row = submitted(tmp_path, models, form)
    expected = np.mean([np.exp(one) / np.exp(one).sum() for one in logits], axis=0)
    assert np.allclose([float(value) for value in row.split(",")[1:]], expected, atol=1e-8)


def test_members_of_several_labels_are_averaged_by_each_labels_probability(tmp_path: Path) -> None:
    models = [tagged([0.9, 0.2, 0.5]), tagged([0.7, 0.4, 0.3])]
    _, row = submitted(tmp_path, models, PROBABILITIES)
    assert np.allclose([float(value) for value in row.split(",")[1:]], [0.8, 0.3, 0.4], atol=1e-6)


def test_probability_columns_are_in_the_order_of_the_form(tmp_path: Path) -> None:
    form = SubmissionForm("probabilities", ("id", "Frog!", "cat", "dog"), ("frog", "cat", "dog"))
    models = [likely([0.5, 0.3, 0.2], [0.1, 0.2, 0.7])]
    header, *rows = submitted(tmp_path, models, form, {"2": "2", "1": "1"})
    assert header == "id,Frog!,cat,dog"
    values = [[float(value) for value in row.split(",")] for row in rows]
    assert np.allclose(values, [[2, 0.7, 0.1, 0.2], [1, 0.2, 0.5, 0.3]], atol=1e-6)
    assert all(len(field) == len("0.123456789") for field in rows[0].split(",")[1:])


def test_class_without_training_images_has_probability_0(tmp_path: Path) -> None:
    columns = ("cat", None, "dog", "frog")
    form = SubmissionForm("probabilities", ("id", "cat", "yeti", "dog", "frog"), columns)
    _, row = submitted(tmp_path, [likely([0.5, 0.3, 0.2])], form)
    values = [float(value) for value in row.split(",")[1:]]
    assert np.allclose(values, [0.5, 0, 0.3, 0.2], atol=1e-6)


def test_probabilities_of_some_of_the_classes_are_scaled_to_1(tmp_path: Path) -> None:
    form = SubmissionForm("probabilities", ("id", "dog", "cat"), ("dog", "cat"))
    _, row = submitted(tmp_path, [likely([0.3, 0.1, 0.6])], form)
    assert np.allclose([float(value) for value in row.split(",")[1:]], [0.25, 0.75], atol=1e-6)


@pytest.mark.parametrize(("positive", "expected"), [("dog", 0.3), ("cat", 0.7)])
def test_one_probability_is_that_of_the_positive_class(
    tmp_path: Path, positive: str, expected: float
) -> None:
    form = SubmissionForm("probability", ("id", "is_it"), positive=positive)
    header, row = submitted(tmp_path, [likely([0.7, 0.3], classes=("cat", "dog"))], form)
    assert header == "id,is_it"
    assert float(row.split(",")[1]) == pytest.approx(expected, abs=1e-6)


def test_likeliest_classes_come_first_and_are_as_many_as_there_are(tmp_path: Path) -> None:
    models = [likely([0.2, 0.5, 0.3], [0.6, 0.1, 0.3])]
    assert submitted(tmp_path, models, TOP_2) == ["id,best", "1,dog frog", "2,cat frog"]
    form = SubmissionForm("top_k", ("id", "best"), k=5, separator="|")
    assert submitted(tmp_path, models, form)[1:] == ["1,dog|frog|cat", "2,cat|frog|dog"]


@pytest.mark.parametrize(
    ("thresholds", "expected"),
    [
        (NO_THRESHOLDS, ["cat dog", ""]),
        (Thresholds("one", (0.25,)), ["cat dog frog", "frog"]),
        (Thresholds("one", (0.7,), at_least_one=True), ["cat", "frog"]),
        (Thresholds("per_class", (0.85, 0.5, 0.2)), ["dog frog", "frog"]),
    ],
)
def test_several_labels_are_those_over_the_thresholds(
    tmp_path: Path, thresholds: Thresholds, expected: list[str]
) -> None:
    models = [tagged([0.8, 0.6, 0.3], [0.1, 0.2, 0.4])]
    lines = submitted(tmp_path, models, SEVERAL, thresholds=thresholds)
    assert lines == ["id,tags", *(f"{n},{labels}" for n, labels in enumerate(expected, start=1))]


def test_label_follows_the_thresholds_of_its_metric(tmp_path: Path) -> None:
    models = [likely([0.7, 0.3], [0.85, 0.15], classes=("no", "yes"))]
    assert submitted(tmp_path, models)[1:] == ["1,no", "2,no"]
    thresholds = Thresholds("one", (0.25,), positive="yes")
    assert submitted(tmp_path, models, thresholds=thresholds)[1:] == ["1,yes", "2,no"]
    models = [likely([0.5, 0.1, 0.4], [0.5, 0.4, 0.1], classes=("0", "1", "2"))]
    thresholds = Thresholds("ordinal", (0.5, 1.5))
    assert submitted(tmp_path, models, thresholds=thresholds)[1:] == ["1,1", "2,1"]


def test_huge_logits_do_not_overflow(tmp_path: Path) -> None:
    models = [predictions([[3e4, 3.1e4, -3e4]], ("1",))]
    assert submitted(tmp_path, models) == ["id,label", "1,dog"]
    models = [predictions([[3e4, -3.1e4, 0.1]], ("1",), several=True)]
    with np.errstate(over="raise", invalid="raise"):
        assert submitted(tmp_path, models, SEVERAL) == ["id,tags", "1,cat frog"]


@pytest.mark.parametrize(
    "other",
    [
        certain(("2", "1")),
        predictions([[1, 0], [0, 1]], ("1", "2"), ("cat", "dog")),
        predictions([[1, 0, 0], [0, 1, 0]], ("1", "2"), several=True),
    ],
)
def test_models_of_other_images_or_classes_are_not_mixed(
    tmp_path: Path, other: Predictions
) -> None:
    with pytest.raises(ValueError, match="other"):
        submitted(tmp_path, [certain(("1", "2")), other])
    assert not (tmp_path / "results/submission.csv").exists()


def test_class_name_with_a_comma_is_quoted(tmp_path: Path) -> None:
    models = [predictions([[1.0, 0.0]], ("1",), ("cat, tabby", "dog"))]
    assert submitted(tmp_path, models) == ["id,label", '1,"cat, tabby"']


def test_label_that_a_spreadsheet_would_take_for_a_formula_is_written_as_it_is(
    tmp_path: Path,
) -> None:
    one = predictions([[9.0, 0.0], [0.0, 9.0]], ("1", "2"), classes=("=1+1", "cat"))
    assert submitted(tmp_path, [one]) == ["id,label", "1,=1+1", "2,cat"]


@pytest.mark.parametrize(
    ("form", "text", "message"),
    [
        (LABEL, "id,labels\n1,cat\n", "header"),
        (LABEL, "id,label\n2,cat\n", "ids"),
        (LABEL, "id,label\n1,cow\n", "not a class"),
        (LABEL, "id,label\n1,cat,dog\n", "2 values"),
        (PROBABILITIES, "id,cat,dog,frog\n1,0.5,0.5,0.5\n", "do not add up"),
        (PROBABILITIES, "id,cat,dog,frog\n1,1.5,-0.5,0\n", "no probability"),
        (PROBABILITIES, "id,cat,dog,frog\n1,nan,0.5,0.5\n", "no probability"),
        (SubmissionForm("probability", ("id", "p"), positive="cat"), "id,p\n1,2\n", "no prob"),
        (TOP_2, "id,best\n1,cat\n", "1 labels"),
        (TOP_2, "id,best\n1,cat cat\n", "twice"),
        (TOP_2, "id,best\n1,cat cow\n", "not a class"),
        (SEVERAL, "id,tags\n1,cat cat\n", "twice"),
        (SEVERAL, "id,tags\n1,cow\n", "not a class"),
    ],
)
def test_check_finds_what_a_competition_would_refuse(
    form: SubmissionForm, text: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        check_submission(text, form, ["1"], CLASSES)


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        (LABEL, "3351956e79370f4cb32a313ace9024e88a16353124bdebf9b6e0e25d5495dc0a"),
        (PROBABILITIES, "b0fe221712b622075b0dd493e369575f7337fb16119244e5d4ea785673febbe2"),
    ],
)
def test_same_logits_give_the_bytes_that_version_0_2_0_wrote(
    tmp_path: Path, form: SubmissionForm, expected: str
) -> None:
    rng = np.random.default_rng(0)
    ids = tuple(map(str, range(1, 301)))
    models = [predictions(rng.normal(size=(300, 3)).tolist(), ids) for _ in range(2)]
    text = "\n".join(submitted(tmp_path, models, form)) + "\n"
    assert hashlib.sha256(text.encode()).hexdigest() == expected
