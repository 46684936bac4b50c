"""The score of a submission whose true labels are known."""

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics as sklearn

from builders import refused
from imagepipe.config.dataset import LabelTable
from imagepipe.dataset.submission_form import MetricChoice, SubmissionForm
from imagepipe.submission.scoring import Score, score, score_line, write_score

TRUTH = "id,label\n1,cat\n2,dog\n3,frog\n4,cat\n"
CLASSES = ("cat", "dog", "frog")
TABLE = LabelTable(file="true.csv")
LABEL = SubmissionForm("label", ("id", "label"))
PROBABILITIES = SubmissionForm("probabilities", ("id", *CLASSES), CLASSES)
PROBABILITY = SubmissionForm("probability", ("id", "p"), positive="dog")
TOP_3 = SubmissionForm("top_k", ("id", "label"), k=3, separator=" ")
SEVERAL = SubmissionForm("several_labels", ("id", "tags"), separator=" ")
ACCURACY = MetricChoice("accuracy")
IMAGES = 80


def scored(
    folder: Path,
    submission: str,
    truth: str,
    form: SubmissionForm = LABEL,
    metric: MetricChoice = ACCURACY,
    table: LabelTable | None = TABLE,
) -> Score:
    (folder / "submission.csv").write_text(submission)
    (folder / "true.csv").write_text(truth)
    return score(folder / "submission.csv", folder / "true.csv", form, metric, table)


def table(header: tuple[str, ...], *columns: list[object]) -> str:
    """Return CSV text with ids from 1, and these columns."""
    rows = (",".join(map(str, row)) for row in zip(*columns, strict=True))
    return "\n".join([",".join(header), *(f"{n},{row}" for n, row in enumerate(rows, start=1))])


def drawn(seed: int, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=IMAGES)
    probabilities = rng.dirichlet(np.ones(classes), IMAGES) + 0.3 * np.eye(classes)[labels]
    return (probabilities / probabilities.sum(axis=1, keepdims=True)).round(9), labels


@pytest.mark.parametrize(
    ("submission", "truth", "form"),
    [
        ("id,label\n1,cat\n2,dog\n3,frog\n4,dog\n", TRUTH, LABEL),
        (
            "Id,Animal\n4,dog\n3,frog\n2,dog\n1,cat\n",
            TRUTH,
            SubmissionForm("label", ("Id", "Animal")),
        ),
        ("id,label\n1,cat\n2,dog\n3,frog\n4,dog\n", TRUTH.replace(",", ".png,", 5), LABEL),
        ("id,label\n1.jpg,cat\n2.jpg,dog\n3.jpg,frog\n4.jpg,dog\n", TRUTH, LABEL),
        (
            "id,cat,dog,frog\n1,.6,.4,0\n2,.4,.6,0\n3,.3,.2,.5\n4,.4,.6,0\n",
            TRUTH,
            PROBABILITIES,
        ),
        (
            "id,cat,dog,frog\n1,.6,.4,0\n2,.4,.6,0\n3,.3,.2,.5\n4,.4,.6,0\n",
            "frog,id,cat,dog\n0,1,1,0\n0,2,0,1\n1,3,0,0\n0,4,1.0,0.0\n",
            PROBABILITIES,
        ),
        ("id,label\n1,cat dog\n2,dog cat\n3,frog\n4,dog cat\n", TRUTH, TOP_3),
        ("id,p\n1,0.1\n2,0.9\n3,0.2\n4,0.8\n", "id,p\n1,0\n2,1\n3,0\n4,0\n", PROBABILITY),
        ("id,p\n1,0.1\n2,0.9\n3,0.2\n4,0.8\n", TRUTH, PROBABILITY),
        (
            "id,tags\n1,cat dog\n2,\n3,frog\n4,dog\n",
            "id,tags\n1,dog cat\n2,\n3,frog\n4,dog frog\n",
            SEVERAL,
        ),
    ],
    ids=[
        "labels",
        "another order",
        "true ids with ending",
        "ids with ending",
        "probabilities",
        "one-hot truth",
        "likeliest",
        "one probability",
        "one probability and labels",
        "several labels",
    ],
)
def test_accuracy_is_the_part_of_the_images_that_are_right(
    tmp_path: Path, submission: str, truth: str, form: SubmissionForm
) -> None:
    truth = truth.replace("id.png", "id")
    result = scored(tmp_path, submission, truth, form)
    assert result == {"accuracy": 0.75, "n": 4, "metric": "accuracy"}
    write_score(tmp_path / "score.json", result)
    assert json.loads((tmp_path / "score.json").read_text()) == result


@pytest.mark.parametrize("one_hot", [True, False])
@pytest.mark.parametrize("name", ["log_loss", "mean_column_roc_auc", "top_2_error"])
def test_metric_of_probabilities_is_scikit_learns(tmp_path: Path, name: str, one_hot: bool) -> None:
    p, labels = drawn(0)
    truth = (
        table(PROBABILITIES.header, *np.eye(3, dtype=int)[labels].T.tolist())
        if one_hot
        else table(("id", "label"), [CLASSES[label] for label in labels])
    )
    submission = table(PROBABILITIES.header, *p.T.tolist())
    result = scored(tmp_path, submission, truth, PROBABILITIES, MetricChoice(name))
    expected = {
        "log_loss": sklearn.log_loss(labels, p),
        "mean_column_roc_auc": sklearn.roc_auc_score(np.eye(3)[labels], p),
        "top_2_error": 1 - sklearn.top_k_accuracy_score(labels, p, k=2),
    }
    assert result[name] == pytest.approx(expected[name], abs=1e-7)
    assert result["accuracy"] == np.mean(p.argmax(axis=1) == labels)
    assert (result["metric"], result["n"]) == (name, IMAGES)


@pytest.mark.parametrize("as_words", [True, False])
@pytest.mark.parametrize("name", ["roc_auc", "log_loss"])
def test_metric_of_one_probability_is_scikit_learns(
    tmp_path: Path, name: str, as_words: bool
) -> None:
    p, labels = drawn(1, classes=2)
    header = ("id", "label") if as_words else ("id", "p")
    written = [CLASSES[label] for label in labels] if as_words else labels.tolist()
    submission = table(("id", "p"), p[:, 1].tolist())
    choice = MetricChoice(name, "dog")
    result = scored(tmp_path, submission, table(header, written), PROBABILITY, choice)
    expected = {
        "roc_auc": sklearn.roc_auc_score(labels, p[:, 1]),
        "log_loss": sklearn.log_loss(labels, p[:, 1]),
    }
    assert result[name] == pytest.approx(expected[name], abs=1e-7)


def test_one_probability_of_the_class_0_and_its_labels(tmp_path: Path) -> None:
    form = SubmissionForm("probability", ("id", "p"), positive="0")
    submission = "id,p\n1,0.9\n2,0.2\n"
    labels = scored(tmp_path, submission, "id,label\n1,0\n2,1\n", form)
    assert labels["accuracy"] == 1
    chances = scored(tmp_path, submission, "id,p\n1,1\n2,0\n", form)
    assert chances["accuracy"] == 1


@pytest.mark.parametrize("positive", ["1", "2"])
def test_one_probability_of_the_classes_1_and_2_in_the_column_of_the_labels(
    tmp_path: Path, positive: str
) -> None:
    form = SubmissionForm("probability", ("id", "label"), positive=positive)
    chances = {"1": "id,label\n1,0.9\n2,0.2\n", "2": "id,label\n1,0.1\n2,0.8\n"}
    truth = "id,label\n1,1\n2,2\n"
    metric = MetricChoice("roc_auc", positive)
    result = scored(tmp_path, chances[positive], truth, form, metric)
    assert (result["accuracy"], result["roc_auc"]) == (1, 1)


@pytest.mark.parametrize("name", ["f1_micro", "f1_macro", "quadratic_weighted_kappa", "f1"])
def test_metric_of_labels_is_scikit_learns(tmp_path: Path, name: str) -> None:
    rng = np.random.default_rng(2)
    labels, guesses = rng.integers(3, size=(2, IMAGES))
    if name == "f1":
        labels, guesses = labels % 2, guesses % 2
    result = scored(
        tmp_path,
        table(("id", "label"), guesses.tolist()),
        table(("id", "label"), labels.tolist()),
        LABEL,
        MetricChoice(name, "1" if name == "f1" else None),
    )
    expected = {
        "f1_micro": lambda: sklearn.f1_score(labels, guesses, average="micro"),
        "f1_macro": lambda: sklearn.f1_score(labels, guesses, average="macro"),
        "quadratic_weighted_kappa": lambda: sklearn.cohen_kappa_score(
            labels, guesses, weights="quadratic"
        ),
        "f1": lambda: sklearn.f1_score(labels, guesses),
    }
    assert result[name] == pytest.approx(expected[name](), abs=1e-12)


def test_map_is_one_over_the_rank_of_the_label(tmp_path: Path) -> None:
    submission = "id,label\n1,cat dog frog\n2,cat dog frog\n3,cat dog frog\n4,dog frog\n"
    result = scored(tmp_path, submission, TRUTH, TOP_3, MetricChoice("map_at_3"))
    assert result["map_at_3"] == pytest.approx((1 + 1 / 2 + 1 / 3 + 0) / 4)
    assert result["accuracy"] == 0.25
    error = scored(tmp_path, submission, TRUTH, TOP_3, MetricChoice("top_2_error"))
    assert error["top_2_error"] == 0.5


def test_a_label_alone_is_a_list_of_one(tmp_path: Path) -> None:
    submission = "id,label\n1,cat\n2,dog\n3,cat\n4,frog\n"
    result = scored(tmp_path, submission, TRUTH, LABEL, MetricChoice("top_3_error"))
    assert result["top_3_error"] == 0.5


@pytest.mark.parametrize("name", ["f1_samples", "f1_micro", "f1_macro", "f2"])
def test_metric_of_several_labels_is_scikit_learns(tmp_path: Path, name: str) -> None:
    rng = np.random.default_rng(3)
    truth, guess = (rng.random((2, IMAGES, 3)) < 0.5).astype(int)

    def text(rows: np.ndarray) -> str:
        names = [" ".join(np.array(CLASSES)[row == 1]) for row in rows]
        return table(("id", "tags"), names)

    result = scored(tmp_path, text(guess), text(truth), SEVERAL, MetricChoice(name))
    average = {"f2": "samples"}.get(name, name[3:])
    beta = 2 if name == "f2" else 1
    expected = sklearn.fbeta_score(truth, guess, beta=beta, average=average, zero_division=0)
    assert result[name] == pytest.approx(expected, abs=1e-12)
    assert result["accuracy"] == sklearn.accuracy_score(truth, guess)


def test_several_labels_as_probabilities_need_no_sum_of_1(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    truth = (rng.random((IMAGES, 3)) < 0.5).astype(int)
    p = rng.random((IMAGES, 3)).round(9)
    submission = table(PROBABILITIES.header, *p.T.tolist())
    answers = table(PROBABILITIES.header, *truth.T.tolist())
    result = scored(tmp_path, submission, answers, PROBABILITIES, MetricChoice("log_loss"))
    expected = np.mean([sklearn.log_loss(truth[:, c], p[:, c]) for c in range(3)])
    assert result["log_loss"] == pytest.approx(expected, abs=1e-9)
    assert result["accuracy"] == sklearn.accuracy_score(truth, p >= 0.5)


def test_images_may_have_several_labels_even_if_each_has_one(tmp_path: Path) -> None:
    truth, p = np.eye(3, dtype=int), np.array([[0.9, 0.6, 0.1], [0.2, 0.7, 0.8], [0.1, 0.1, 0.6]])
    (tmp_path / "submission.csv").write_text(table(PROBABILITIES.header, *p.T.tolist()))
    (tmp_path / "true.csv").write_text(table(PROBABILITIES.header, *truth.T.tolist()))
    files = (tmp_path / "submission.csv", tmp_path / "true.csv")
    result = score(*files, PROBABILITIES, MetricChoice("log_loss"), several=True)
    expected = np.mean([sklearn.log_loss(truth[:, c], p[:, c]) for c in range(3)])
    assert result["log_loss"] == pytest.approx(expected, abs=1e-9)
    assert result["accuracy"] == sklearn.accuracy_score(truth, p >= 0.5)


def test_column_of_a_class_without_training_images_is_scored_by_its_header(tmp_path: Path) -> None:
    form = SubmissionForm("probabilities", ("id", "Cat", "yeti"), ("cat", None))
    submission = "id,Cat,yeti\n1,1,0\n2,1,0\n"
    result = scored(tmp_path, submission, "id,label\n1,cat\n2,yeti\n", form, ACCURACY)
    assert result["accuracy"] == 0.5
    result = scored(tmp_path, submission, "id,Cat,yeti\n1,1,0\n2,0,1\n", form, ACCURACY)
    assert result["accuracy"] == 0.5


def test_label_that_no_column_has_is_never_right(tmp_path: Path) -> None:
    submission = "id,cat,dog,frog\n1,1,0,0\n2,0,1,0\n"
    truth = "id,label\n1,cat\n2,cow\n"
    result = scored(tmp_path, submission, truth, PROBABILITIES, MetricChoice("log_loss"))
    assert result["accuracy"] == 0.5
    assert result["log_loss"] == pytest.approx(-np.log(1e-15) / 2)


def test_true_labels_are_read_as_the_labels_are(tmp_path: Path) -> None:
    """With another separator and encoding, the rows of one split, and several labels in a field."""
    (tmp_path / "submission.csv").write_text("image,tags\na/1.PNG,café\na/2.PNG,thé café\n")
    text = "name;kind;part\n1;café;test\n2;café,thé;test\n3;thé;train\n"
    (tmp_path / "true.csv").write_bytes(text.encode("latin-1"))
    options = LabelTable(
        file="true.csv",
        id_column="name",
        label_column="kind",
        separator=",",
        where={"part": "test"},
    )
    form = SubmissionForm("several_labels", ("image", "tags"), separator=" ")
    files = tmp_path / "submission.csv", tmp_path / "true.csv"
    result = score(*files, form, MetricChoice("f1_samples"), options, "latin-1")
    assert result == {"accuracy": 1, "f1_samples": 1, "metric": "f1_samples", "n": 2}


@pytest.mark.parametrize(
    ("submission", "words"),
    [
        ("id,label\n1,cat\n2,dog\n3,frog\n5,dog\n", ["submission.csv", "row 5", "'5'"]),
        ("id,label\n1,cat\n2,dog\n3,frog\n", ["true.csv", "4 labels", "3 test images"]),
    ],
)
def test_labels_of_other_images_are_refused(
    tmp_path: Path, submission: str, words: list[str]
) -> None:
    with refused(str(tmp_path), *words):
        scored(tmp_path, submission, TRUTH)


@pytest.mark.parametrize(
    ("truth", "words"),
    [
        ("name,kind\n1,cat\n", ["row 1", "id, label", "name, kind"]),
        ("id,label\n1,cat\n1,dog\n", ["row 3", "'1'", "twice"]),
        ("id,cat,dog\n1,yes,no\n", ["row 2", "'yes'", "number"]),
        ("id,label\n", ["no rows"]),
    ],
)
def test_unusable_true_labels_are_refused(tmp_path: Path, truth: str, words: list[str]) -> None:
    with refused("true.csv", *words):
        scored(tmp_path, "id,label\n1,cat\n", truth)


@pytest.mark.parametrize(
    ("result", "line"),
    [
        ({"accuracy": 0.5, "metric": "accuracy", "n": 1200}, "accuracy 0.5000 on 1,200 images"),
        (
            {"accuracy": 0.5, "log_loss": 0.25, "metric": "log_loss", "n": 8},
            "log loss 0.2500, accuracy 0.5000 on 8 images",
        ),
        ({"accuracy": 0.5, "roc_auc": None, "metric": "roc_auc", "n": 8}, "accuracy 0.5000 on 8"),
    ],
)
def test_line_for_the_log(result: Score, line: str) -> None:
    assert score_line(result).startswith(line)
