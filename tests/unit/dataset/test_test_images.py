"""The test images: from their folder, from a table, or by the sample submission."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from builders import refused
from listed_images import Matched, matched

MIXED = ["Train_1.jpg", "Train_2.jpg", "Test_1.jpg", "Test_10.jpg", "Test_2.jpg"]
TABLES = {
    "train.csv": "id,label\nTrain_1,a\nTrain_2,b\n",
    "test.csv": "id\nTest_2\nTest_10\nTest_1\n",
    "sample.csv": "id,label\nTest_2,a\nTest_1,a\nTest_10,a\n",
}
TEST_IDS = {"file": "test.csv"}


def of_mixed(folder: Path, tables: dict[str, str] | None = None, **options: Any) -> Matched:
    """Match where all images are in one folder."""
    train = options.pop("train", MIXED)
    options = {"labels": {"file": "train.csv"}} | options
    return matched(folder, train, options.pop("test", []), TABLES | (tables or {}), **options)


def test_images_in_one_folder_are_told_apart_by_the_sample(tmp_path: Path) -> None:
    found = of_mixed(tmp_path, sample_submission="sample.csv")
    assert found.labels == {"Train_1": "a", "Train_2": "b"}
    assert list(found.test) == ["Test_2", "Test_1", "Test_10"]
    assert found.unmatched == []


def test_images_in_one_folder_are_told_apart_by_a_table(tmp_path: Path) -> None:
    found = of_mixed(tmp_path, test_ids=TEST_IDS)
    assert found.labels == {"Train_1": "a", "Train_2": "b"}
    assert list(found.test) == ["Test_1", "Test_2", "Test_10"]
    found = of_mixed(tmp_path, test_ids=TEST_IDS, sample_submission="sample.csv")
    assert list(found.test) == ["Test_2", "Test_1", "Test_10"]


def test_images_of_neither_kind_are_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    found = of_mixed(tmp_path, train=[*MIXED, "other.jpg"], sample_submission="sample.csv")
    assert "1 training images without label are left out" in caplog.text
    assert found.unmatched == [["other", "no label"]]


def test_labels_of_test_images_are_not_trained_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    tables = {"train.csv": TABLES["train.csv"] + "Test_1,a\nTest_2,c\n"}
    found = of_mixed(tmp_path, tables, sample_submission="sample.csv")
    assert found.labels == {"Train_1": "a", "Train_2": "b"}
    assert found.classes == ["a", "b"]
    assert "2 rows are of test images" in caplog.text


def test_test_images_that_the_table_does_not_list_are_left_out(tmp_path: Path) -> None:
    found = of_mixed(
        tmp_path,
        {"test.csv": "id,part\n1.jpg,test\n2.jpg,other\n"},
        train=["Train_1.jpg", "Train_2.jpg"],
        test=["1.jpg", "2.jpg", "3.jpg"],
        test_ids={"file": "test.csv", "where": {"part": "test"}},
    )
    assert found.test == {"1": "1.jpg"}


def test_json_may_list_the_test_images_and_the_sample_their_ids_in_it(tmp_path: Path) -> None:
    images = [{"id": 900 + n, "file_name": f"test2019/{name}"} for n, name in enumerate(MIXED[2:])]
    tables = {
        "test.json": json.dumps({"images": images}),
        "sample.csv": "id,predicted\n902,a\n900,a\n901,b\n",
    }
    options: dict[str, Any] = {"test_ids": {"file": "test.json"}}
    found = of_mixed(tmp_path, tables, sample_submission="sample.csv", **options)
    assert found.test == {"Test_2": "902", "Test_1": "900", "Test_10": "901"}


def test_numbers_of_a_sample_may_be_those_of_the_files_and_not_of_the_json(tmp_path: Path) -> None:
    images = [{"id": n, "file_name": f"{n + 1}.jpg"} for n in range(3)]
    found = of_mixed(
        tmp_path,
        {
            "test.json": json.dumps({"images": images}),
            "sample.csv": "id,label\n1,a\n2,a\n3,a\n",
        },
        train=[*MIXED[:2], "1.jpg", "2.jpg", "3.jpg"],
        test_ids={"file": "test.json"},
        sample_submission="sample.csv",
    )
    assert found.test == {"1": "1", "2": "2", "3": "3"}


@pytest.mark.parametrize(("ids", "is_logged"), [((2, 1), True), ((1, 2), False), ((7, 8), False)])
def test_ids_in_the_json_that_are_other_files_numbers_are_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, ids: tuple[int, int], is_logged: bool
) -> None:
    caplog.set_level(logging.INFO)
    names = ["001.jpg", "002.jpg"]
    images = [{"id": i, "file_name": name} for i, name in zip(ids, names, strict=True)]
    found = of_mixed(
        tmp_path,
        {
            "test.json": json.dumps({"images": images}),
            "sample.csv": f"id,label\n{ids[0]},a\n{ids[1]},a\n",
        },
        train=["Train_1.jpg", "Train_2.jpg"],
        test=names,
        test_ids={"file": "test.json"},
        sample_submission="sample.csv",
    )
    assert found.test == {"001": str(ids[0]), "002": str(ids[1])}
    assert ("the ids are those in the JSON file, so that '2' is '001.jpg'" in caplog.text) == (
        is_logged
    )


@pytest.mark.parametrize(
    ("tables", "options", "words"),
    [
        ({"test.csv": "id\nTest_3\n"}, {"test_ids": TEST_IDS}, ["row 2", "'Test_3'"]),
        ({"test.csv": "id\nTest_1\nTest_1.jpg\n"}, {"test_ids": TEST_IDS}, ["row 3", "twice"]),
        ({"test.csv": "id\n"}, {"test_ids": TEST_IDS}, ["there are no test images"]),
        ({"sample.csv": "id,label\n"}, {}, ["there are no test images"]),
        ({"sample.csv": "id,label\nTest_3,a\n"}, {}, ["row 2", "'Test_3'"]),
        ({"sample.csv": "id,label\nTest_1,a\n"}, {"test_ids": TEST_IDS}, ["no row", "'Test_2'"]),
        (
            {"sample.csv": "id,label\nTrain_1,a\n"},
            {"test_ids": TEST_IDS},
            ["row 2", "no test image with id 'Train_1'"],
        ),
    ],
)
def test_tables_that_do_not_fit_the_images_are_refused(
    tmp_path: Path, tables: dict[str, str], options: dict[str, Any], words: list[str]
) -> None:
    with refused(*words):
        of_mixed(tmp_path, tables, sample_submission="sample.csv", **options)


def test_dataset_without_test_images_is_refused(tmp_path: Path) -> None:
    with refused("there are no test images"):
        of_mixed(tmp_path)


@pytest.mark.parametrize(
    ("sample", "words"),
    [
        ("id,label\n1,a\n", ["no row for the test image with id '2'", "test_ids"]),
        ("id,label\n1,a\n2,a\n3,a\n", ["row 4", "no test image with id '3'"]),
        ("id,label\n1,a\n2,a\n1.jpg,a\n", ["row 4", "'1.jpg' is there twice"]),
        ("id,label\n1,a\n2\n", ["row 3", "1 fields"]),
        ("id,label\n1,a\n2,\u00e4\n".encode("latin-1"), ["row 3", "not UTF-8"]),
    ],
)
def test_sample_of_other_images_is_refused(
    tmp_path: Path, sample: str | bytes, words: list[str]
) -> None:
    train, test = ["Train_1.jpg", "Train_2.jpg"], ["1.jpg", "2.jpg"]
    with refused("sample.csv", *words):
        of_mixed(
            tmp_path,
            {"sample.csv": sample},
            train=train,
            test=test,
            sample_submission="sample.csv",
        )


@pytest.mark.parametrize(
    ("values", "header"),
    [
        (("Public", "Private", "Ignored"), ["id", "label"]),
        (("a", "b", "Public"), ["id", "label", "Usage"]),
    ],
)
def test_column_usage_of_a_sample_is_passed_over(
    tmp_path: Path, values: tuple[str, ...], header: list[str]
) -> None:
    rows = zip(("Test_2", "Test_1", "Test_10"), ("0.5", "0.25", "0.25"), values, strict=True)
    sample = "".join(f"{','.join(row)}\n" for row in [("id", "label", "Usage"), *rows])
    # Of two columns, each is that of a class.
    train = {"train.csv": "id,label\nTrain_1,label\nTrain_2,Usage\n"}
    found = of_mixed(tmp_path, {"sample.csv": sample, **train}, sample_submission="sample.csv")
    assert found.form["header"] == header
    assert list(found.test) == ["Test_2", "Test_1", "Test_10"]
