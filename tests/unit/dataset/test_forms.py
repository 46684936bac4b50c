"""The form of the submission and its metric, from the sample submission."""

from pathlib import Path
from typing import Any

import pytest

from builders import refused
from listed_images import Matched, matched

TRAIN = [f"{n}.jpg" for n in range(1, 7)]
TEST = ["8.jpg", "10.jpg", "9.jpg"]


def of_sample(
    folder: Path,
    classes: list[str],
    sample: str | None,
    *,
    header: str = "id,label",
    **options: Any,
) -> Matched:
    """Match labels with these classes in turn, and a sample submission of this content."""
    rows = "".join(f"{n},{classes[n % len(classes)]}\n" for n in range(1, 7))
    tables = {"labels.csv": f"{header}\n{rows}"}
    defaults: dict[str, Any] = {"labels": {"file": "labels.csv"}}
    if sample is not None:
        tables["sample.csv"] = sample
        defaults["sample_submission"] = "sample.csv"
    return matched(folder, TRAIN, TEST, tables, **(defaults | options))


def sample_of(header: str, *values: str) -> str:
    """Return a sample submission; the values are repeated."""
    rows = "".join(f"{i},{values[n % len(values)]}\n" for n, i in enumerate((10, 8, 9)))
    return f"{header}\n{rows}"


PROBABILITY = {"name": "probability", "columns": ["1"], "positive": "1"}
METRIC = {"metric": "log_loss"}


@pytest.mark.parametrize(
    ("classes", "sample", "options", "form", "metric"),
    [
        (["cat", "dog"], sample_of("id,label", "cat"), {}, {"name": "label"}, "accuracy"),
        (["0", "1"], sample_of("id,has_cactus", "0.5"), {}, PROBABILITY, "roc_auc"),
        (["0", "1"], sample_of("id,target", "0"), {}, {"name": "label"}, "accuracy"),
        (["0", "1"], sample_of("id,target", "0"), {"metric": "roc_auc"}, PROBABILITY, "roc_auc"),
        (["0", "1"], sample_of("id,target", "0"), METRIC, PROBABILITY, "log_loss"),
        (["no", "yes"], sample_of("id,p", "0"), {}, {"positive": "yes"}, "roc_auc"),
        (["False", "True"], sample_of("id,p", "0.1"), {}, {"positive": "True"}, "roc_auc"),
        (["cat", "dog"], sample_of("id,dog", "0.5"), {}, {"positive": "dog"}, "roc_auc"),
        (["cat", "dog"], sample_of("id,is_cat", "1"), {}, {"positive": "cat"}, "roc_auc"),
        (["a", "b"], sample_of("id,b,a", "0.5,0.5"), {}, {"columns": ["b", "a"]}, "log_loss"),
        (
            ["Acer Mono", "b"],
            sample_of("id,b,acer_mono", "0,0"),
            {},
            {"columns": ["b", "Acer Mono"], "header": ["id", "b", "acer_mono"]},
            "log_loss",
        ),
        (
            ["0", "1", "2"],
            sample_of("id,c0,c1,c2", "0,0,0"),
            {"metric": "mean_column_roc_auc"},
            {"columns": ["0", "1", "2"]},
            "mean_column_roc_auc",
        ),
        (
            ["w_1", "w_2", "w_3", "new"],
            sample_of("Image,Id", "new w_1 w_2", "new w_1 w_3", "new"),
            {},
            {"name": "top_k", "k": 3, "separator": " ", "header": ["Image", "Id"]},
            "map_at_3",
        ),
        (
            ["a", "b", "c"],
            sample_of("id,label", '"a,b"'),
            {},
            {"name": "top_k", "k": 2, "separator": ","},
            "map_at_2",
        ),
        (
            ["Fat Hen", "Hen", "Fat"],
            sample_of("id,label", "Fat Hen"),
            {},
            {"name": "label"},
            "accuracy",
        ),
        (
            list("abcdef"),
            sample_of("id,label", "a"),
            {"metric": "map_at_5"},
            {"name": "top_k", "k": 5, "separator": " "},
            "map_at_5",
        ),
        (
            ["0", "1", "2"],
            sample_of("id,label", "0"),
            {"metric": "quadratic_weighted_kappa"},
            {"name": "label"},
            "quadratic_weighted_kappa",
        ),
        (["cat", "dog"], None, {}, {"name": "label", "header": ["id", "label"]}, "accuracy"),
        (["a", "b"], None, METRIC, {"header": ["id", "a", "b"]}, "log_loss"),
        (["0", "1"], None, {"metric": "roc_auc"}, PROBABILITY, "roc_auc"),
        (
            ["cat", "dog"],
            None,
            {"submission": {"name": "label", "id_column": "file", "label_column": "kind"}},
            {"header": ["file", "kind"]},
            "accuracy",
        ),
        (
            ["cat", "dog"],
            sample_of("id,label", "0.5"),
            {"submission": {"name": "probability", "positive": "dog"}},
            {"positive": "dog", "header": ["id", "label"]},
            "roc_auc",
        ),
        (
            ["a", "b", "c"],
            sample_of("id,label", "a"),
            {"submission": {"name": "top_k", "k": 2}},
            {"name": "top_k", "k": 2},
            "map_at_2",
        ),
    ],
)
def test_form_and_metric(
    tmp_path: Path,
    classes: list[str],
    sample: str | None,
    options: dict[str, Any],
    form: dict[str, Any],
    metric: str,
) -> None:
    found = of_sample(tmp_path, classes, sample, **options)
    assert {key: found.form[key] for key in form} == form
    assert found.metric["name"] == metric
    assert list(found.test) == (["8", "9", "10"] if sample is None else ["10", "8", "9"])


def test_several_labels_are_separated_as_in_the_sample(tmp_path: Path) -> None:
    labels = {"file": "labels.csv", "separator": "|"}
    sample = sample_of("id,tags", "a b", "c")
    found = of_sample(tmp_path, ["a|b", "b", "c"], sample, labels=labels)
    assert found.form["separator"] == " "
    found = of_sample(tmp_path, ["a|b", "b", "c"], sample_of("id,tags", "c"), labels=labels)
    assert found.form["separator"] == "|"
    found = of_sample(tmp_path, ["a|b", "c"], sample_of("id,a,b,c", "0,0,0"), labels=labels)
    assert (found.form["name"], found.metric["name"]) == ("probabilities", "log_loss")


def test_without_sample_the_separator_is_in_no_class(tmp_path: Path) -> None:
    labels = {"file": "labels.csv", "separator": "|"}
    found = of_sample(tmp_path, ["a b|c", "c"], None, labels=labels)
    assert found.form["separator"] == ","
    found = of_sample(tmp_path, ["a b", "c"], None, metric="map_at_2")
    assert found.form["separator"] == ","


def test_class_that_only_the_sample_has_gets_no_probability(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = of_sample(tmp_path, ["a", "b"], sample_of("id,b,new,a", "0,0,1"))
    assert found.form["columns"] == ["b", None, "a"]
    assert found.classes == ["a", "b"]
    assert "no training image has the class 'new': its probability is 0" in caplog.text


def test_labels_of_the_sample_that_are_no_classes_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = of_sample(tmp_path, ["a", "b"], sample_of("id,label", "x", "a"))
    assert found.form["name"] == "label"
    assert "2 of 3 labels, such as 'x', are not classes" in caplog.text


def test_sample_of_zeros_that_may_be_probabilities_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert of_sample(tmp_path, ["0", "1"], sample_of("id,target", "0")).form["name"] == "label"
    assert "every value is 0, which is read as a class" in caplog.text


def test_ids_are_written_as_in_the_sample(tmp_path: Path) -> None:
    sample = "id,label\ntest/10.jpg,a\n8.JPG,a\n9.0,a\n"
    found = of_sample(tmp_path, ["a", "b"], sample)
    assert found.test == {"10": "test/10.jpg", "8": "8.JPG", "9": "9.0"}


@pytest.mark.parametrize(
    ("sample", "header"),
    [
        (",id,label\n0,10,a\n1,8,a\n2,9,b\n", ["id", "label"]),
        ("label;image\na;10\na;8\nb;9\n", ["image", "label"]),
        ("a,b,image\n1,0,10\n0,1,8\n0,0.5,9\n", ["image", "a", "b"]),
    ],
)
def test_ids_may_be_in_any_column(tmp_path: Path, sample: str, header: list[str]) -> None:
    found = of_sample(tmp_path, ["a", "b"], sample)
    assert found.form["header"] == header
    assert found.test == {"10": "10", "8": "8", "9": "9"}


@pytest.mark.parametrize(
    ("classes", "sample", "options", "words"),
    [
        (
            ["cat", "dog"],
            sample_of("id,label", "0.5"),
            {},
            ["'label' holds the probability of one of", "{name: probability, positive: CLASS}"],
        ),
        (["1", "2"], sample_of("id,label", "0.5"), {}, ["classes '1' and '2'", "positive: CLASS"]),
        (
            ["great dane", "pug", "dane"],
            sample_of("id,label", "pug"),
            {"metric": "map_at_3"},
            ["' ' is to separate the labels", "'great dane' has it", "submission.separator"],
        ),
        (
            ["a b|c", "c"],
            sample_of("id,label", "c"),
            {
                "labels": {"file": "labels.csv", "separator": "|"},
                "submission": {"name": "several_labels"},
            },
            ["'a b' has it"],
        ),
        (["a", "b"], sample_of("id,a,c", "0,0"), {}, ["no column for class 'b'", "'c'"]),
        (["a", "b"], sample_of("id,a,b,a", "0,0,0"), {}, ["different name"]),
        (
            ["a", "b", "c"],
            sample_of("id,label", "a"),
            {"submission": {"name": "probability", "positive": "a"}},
            ["two classes, but there are 3"],
        ),
        (
            ["a", "b"],
            sample_of("id,label", "a"),
            {"submission": {"name": "probability", "positive": "c"}},
            ["must be one of 'a' and 'b'"],
        ),
        (
            ["a", "b"],
            sample_of("id,a,b", "0,0"),
            {"submission": {"name": "label"}},
            ["has 3 columns"],
        ),
        (
            ["a", "b"],
            sample_of("id,label", "a"),
            {"submission": {"name": "probabilities"}},
            ["no column for classes 'a', 'b'"],
        ),
        (
            ["a", "b"],
            sample_of("id,label", "a"),
            {"submission": {"name": "several_labels"}},
            ["several_labels needs labels with several classes"],
        ),
        (["a", "b"], sample_of("id,label", "a"), METRIC, ["log_loss needs", "it is label"]),
        (["a", "b", "c"], sample_of("id,label", "a"), {"metric": "f1"}, ["two classes"]),
        (["a", "b", "c"], sample_of("id,label", "a"), {"metric": "roc_auc"}, ["it is label"]),
        (
            ["a", "b"],
            sample_of("id,label", "a"),
            {"metric": "quadratic_weighted_kappa"},
            ["whole numbers", "'a'"],
        ),
        (
            ["a", "b"],
            sample_of("id,a,b", "0,0"),
            {"metric": "map_at_5"},
            ["map_at_5 needs a submission of top_k, but it is probabilities"],
        ),
        (["a", "b"], sample_of("id,label", "a"), {"metric": "f1_samples"}, ["several_labels"]),
    ],
)
def test_form_or_metric_that_does_not_suit_the_labels_is_refused(
    tmp_path: Path, classes: list[str], sample: str, options: dict[str, Any], words: list[str]
) -> None:
    with refused(*words):
        of_sample(tmp_path, classes, sample, **options)


@pytest.mark.parametrize(
    ("metric", "positive"),
    [("roc_auc", "1"), ("log_loss", "1"), ("f1", "1"), ("accuracy", None)],
)
def test_metric_of_two_classes_has_a_positive_one(
    tmp_path: Path, metric: str, positive: str | None
) -> None:
    found = of_sample(tmp_path, ["0", "1"], sample_of("id,target", "1"), metric=metric)
    assert found.metric == {"name": metric, "positive": positive}


@pytest.mark.parametrize("metric", ["top_1_error", "map_at_1"])
def test_a_label_is_the_likeliest_class_alone(tmp_path: Path, metric: str) -> None:
    found = of_sample(tmp_path, ["a", "b", "c"], sample_of("id,label", "a"), metric=metric)
    assert (found.form["name"], found.metric["name"]) == ("label", metric)


def test_f1_of_the_classes_1_and_2_is_that_of_1_as_in_scikit_learn(tmp_path: Path) -> None:
    found = of_sample(tmp_path, ["1", "2"], sample_of("id,label", "1"), metric="f1")
    assert found.metric["positive"] == "1"


def test_positive_class_is_the_second_where_nothing_says_more(tmp_path: Path) -> None:
    found = of_sample(tmp_path, ["dog", "cat"], sample_of("id,label", "cat"), metric="f1")
    assert found.metric["positive"] == "dog"
