"""Each way in which labels are written."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from builders import refused
from imagepipe.dataset.manifests import labelled_images, read_manifest
from listed_images import Matched, matched

TRAIN = ["1.png", "2.png", "3.png", "4.png"]
TEST = ["8.png", "9.png"]
TABLE = {"file": "labels.csv"}


def from_table(folder: Path, content: str | bytes, **options: Any) -> Matched:
    """Match labels.csv with TRAIN, its options in `labels`."""
    options = {"labels": TABLE} | options
    return matched(folder, options.pop("train", TRAIN), TEST, {"labels.csv": content}, **options)


FOUR = "1,cat\n2,dog\n3,cat\n4,dog\n"
LABELS = {"1": "cat", "2": "dog", "3": "cat", "4": "dog"}


@pytest.mark.parametrize(
    ("train", "content", "labels"),
    [
        (TRAIN, f"id,label\n{FOUR}", LABELS),
        (TRAIN, f"id;label\n{FOUR.replace(',', ';')}", LABELS),
        (TRAIN, f"id\tlabel\n{FOUR}".replace(",", "\t"), LABELS),
        (["1.JPG", "2.JPG"], "id,label\n1.JPG,cat\n2.jpg,dog\n", {"1": "cat", "2": "dog"}),
        (["1.png", "2.png"], "id,label\ntrain/1.png,a\n./2.png,b\n", {"1": "a", "2": "b"}),
        (["cafe\u0301.png", "b.png"], "id,label\ncaf\u00e9,a\nb,b\n", {"caf\u00e9": "a", "b": "b"}),
        (["007.png", "008.png"], "id,label\n7,a\n8,b\n", {"007": "a", "008": "b"}),
        (["a/1.png", "b/1.png"], "id,label\na/1.png,x\nb/1.png,y\n", {"a/1": "x", "b/1": "y"}),
        (TRAIN, f"id,label\n{FOUR}".replace("cat", "Kätzchen / groß"), None),
        (["1.png", "2.png"], "id,label\n1,.hidden\n2,../x\n", {"1": ".hidden", "2": "../x"}),
    ],
)
def test_table(
    tmp_path: Path, train: list[str], content: str, labels: dict[str, str] | None
) -> None:
    found = from_table(tmp_path, content, train=train)
    if labels is not None:
        assert found.labels == labels
        assert found.classes == sorted(set(labels.values()))
    assert list(found.test) == ["8", "9"]


def test_ids_that_a_spreadsheet_has_changed_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    from_table(tmp_path, "id,label\n7.0,a\n8.0,b\n", train=["007.png", "008.png"])
    assert "2 ids are other numbers than the images', such as '7.0' for '007'" in caplog.text


def test_row_of_a_missing_image_does_not_get_one_that_differs_in_case(tmp_path: Path) -> None:
    content = "id,label\nAb,x\naB,y\nc,x\n"
    found = from_table(tmp_path, content, train=["aB.png", "c.png"], on_bad_image="drop")
    assert found.labels == {"aB": "y", "c": "x"}
    assert found.unmatched == [["Ab", "no image"]]


@pytest.mark.parametrize("pair", [("1", "1.0"), ("Cat", "cat")])
def test_labels_that_differ_only_in_writing_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, pair: tuple[str, str]
) -> None:
    content = f"id,label\n1,{pair[0]}\n2,{pair[1]}\n3,dog\n4,dog\n"
    assert from_table(tmp_path, content).classes == sorted([*pair, "dog"])
    assert f"the labels '{pair[0]}' and '{pair[1]}' are different classes" in caplog.text


def test_rows_are_the_ids_where_there_is_no_column(tmp_path: Path) -> None:
    content = "label,pixel0\ncat,0\ndog,1\ncat,2\ndog,3\n"
    found = from_table(tmp_path, content, labels={**TABLE, "id_column": "null"})
    assert found.labels == LABELS


def test_only_the_rows_asked_for_are_read(tmp_path: Path) -> None:
    content = "id,label,part\n1,cat,train\n2,dog,train\n3,cat,test\n8,dog,test\n"
    found = from_table(tmp_path, content, labels={**TABLE, "where": {"part": "train"}})
    assert found.labels == {"1": "cat", "2": "dog"}
    with refused("row 5", "'8' is a test image", "labels.where"):
        from_table(tmp_path, content)


@pytest.mark.parametrize(
    ("separator", "values"),
    [
        (" ", ["b a", "a", "", "c  b"]),
        (",", ['"b, a"', "a", "", '"c,b"']),
        ("|", ["b|a", "a", "", "c|b|b"]),
        (",", ["\"['b', 'a']\"", "['a']", "[]", "\"['c', 'b']\""]),
    ],
)
def test_several_labels_in_a_column(tmp_path: Path, separator: str, values: list[str]) -> None:
    rows = "".join(f"{n},{value}\n" for n, value in enumerate(values, start=1))
    found = from_table(tmp_path, f"id,label\n{rows}", labels={**TABLE, "separator": separator})
    assert found.labels == {"1": "a|b", "2": "a", "3": "", "4": "b|c"}
    assert found.classes == ["a", "b", "c"]
    assert found.form["name"] == "several_labels"
    assert found.metric == {"name": "f1_samples", "positive": None}


def test_class_with_the_separator_of_labels_csv_is_refused_among_several(tmp_path: Path) -> None:
    with refused("row 2", "'a|b'", "separates several labels"):
        from_table(tmp_path, "id,label\n1,a|b c\n", labels={**TABLE, "separator": " "})
    content = "id,label\n1,a|b\n2,c\n3,c\n4,c\n"
    assert from_table(tmp_path, content).labels["1"] == "a|b"


COLUMNS = {"name": "columns", "file": "labels.csv"}


@pytest.mark.parametrize(
    ("options", "content"),
    [
        ({}, "id,cat,dog\n1,1,0\n2,0,1\n3,1,0\n4,0,1\n"),
        ({}, "id,cat,dog\n1,1.0,0.0\n2,0.0,1.0\n3,1,0\n4,0,1\n"),
        ({}, "id,cat,dog\n1,True,False\n2,false,true\n3,TRUE,FALSE\n4,0,1\n"),
        ({}, ",id,dog,cat\n0,1,0,1\n1,2,1,0\n2,3,0,1\n3,4,1,0\n"),
        (
            {"columns": ["cat", "dog"]},
            "id,w,cat,dog\n1,64,1,0\n2,64,0,1\n3,64,1,0\n4,64,0,1\n",
        ),
    ],
)
def test_columns_of_ones_and_zeros(tmp_path: Path, options: dict, content: str) -> None:
    assert from_table(tmp_path, content, labels=COLUMNS | options).labels == LABELS


def test_columns_of_several_labels(tmp_path: Path) -> None:
    content = "id,b,a,c\n1,1,1,0\n2,0,1,0\n3,0,0,0\n4,1,0,1\n"
    found = from_table(tmp_path, content, labels={**COLUMNS, "several": True})
    assert found.labels == {"1": "a|b", "2": "a", "3": "", "4": "b|c"}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("id,cat,dog\n1,1,0\n2,0.3,0.7\n", ["row 3", "'0.3' in the column 'cat'", "0 or 1"]),
        ("id,cat,dog,w\n1,1,0,64\n", ["row 2", "'64' in the column 'w'", "labels.columns"]),
        ("id,cat,dog\n1,1,1\n", ["row 2", "2 columns have a 1", "labels.several"]),
        ("id,cat,dog\n1,0,0\n", ["row 2", "no column has a 1"]),
        ("id,cat,dog\n1,,1\n", ["row 2", "'' in the column 'cat'"]),
    ],
)
def test_columns_with_other_values_are_refused(
    tmp_path: Path, content: str, words: list[str]
) -> None:
    with refused(*words):
        from_table(tmp_path, content, labels=COLUMNS)


def test_folders(tmp_path: Path) -> None:
    train = ["Fat Hen/1.png", "Fat Hen/2.png", "Maize/x/1.png", "Maize/4.png"]
    found = matched(tmp_path, train, TEST, {}, labels={"name": "folders"})
    assert found.labels == {
        "Fat Hen/1": "Fat Hen",
        "Fat Hen/2": "Fat Hen",
        "Maize/4": "Maize",
        "Maize/x/1": "Maize",
    }


def test_image_outside_its_class_folder_is_refused(tmp_path: Path) -> None:
    train = ["cat/1.png", "dog/2.png", "stray.png"]
    with refused("stray.png"):
        matched(tmp_path, train, TEST, {}, labels={"name": "folders"})
    found = matched(tmp_path, train, TEST, {}, labels={"name": "folders"}, on_bad_image="drop")
    assert found.unmatched == [["stray", "no label"]]
    with refused("no training image lies in a folder of its class", "'1.png'"):
        matched(tmp_path, TRAIN, TEST, {}, labels={"name": "folders"})


def by_name(pattern: str) -> dict[str, str]:
    return {"name": "file_names", "pattern": pattern}


def test_file_names(tmp_path: Path) -> None:
    train = ["cat.0.jpg", "cat.1.jpg", "dog.0.jpg"]
    found = matched(tmp_path, train, TEST, {}, labels=by_name(r"(?P<label>[a-z]+)[.]"))
    assert found.labels == {"cat.0": "cat", "cat.1": "cat", "dog.0": "dog"}


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("(?P<label>[a-z", ["is not a regular expression"]),
        ("([a-z]+)", ["no group (?P<label>...)"]),
        ("(?P<label>[0-9]+)x", ["matches no training image", "'cat.0.jpg'"]),
        ("(?P<label>cat)", ["dog.0.jpg"]),
    ],
)
def test_pattern_that_does_not_match_is_refused(
    tmp_path: Path, pattern: str, words: list[str]
) -> None:
    with refused(*words):
        matched(tmp_path, ["cat.0.jpg", "dog.0.jpg"], TEST, {}, labels=by_name(pattern))


COCO: dict[str, Any] = {
    "images": [{"id": 11, "file_name": "train/1.png"}, {"id": 12, "file_name": "2.png"}],
    "annotations": [
        {"image_id": 11, "category_id": 5, "bbox": [0, 0, 1, 1]},
        {"image_id": 12, "category_id": 6},
        {"image_id": 12, "category_id": 6},
    ],
    "categories": [{"id": 5, "name": "cat"}, {"id": 6, "name": "dog"}],
}


def from_coco(folder: Path, content: object, **options: Any) -> Matched:
    text = content if isinstance(content, str) else json.dumps(content)
    labels = {"name": "coco", "file": "labels.json"} | options
    return matched(folder, ["1.png", "2.png"], TEST, {"labels.json": text}, labels=labels)


def test_coco(tmp_path: Path) -> None:
    assert from_coco(tmp_path, COCO).labels == {"1": "cat", "2": "dog"}
    without_names = {key: value for key, value in COCO.items() if key != "categories"}
    assert from_coco(tmp_path, without_names).labels == {"1": "5", "2": "6"}
    more = COCO | {"annotations": [*COCO["annotations"], {"image_id": 12, "category_id": 5}]}
    assert from_coco(tmp_path, more, several=True).labels == {"1": "cat", "2": "cat|dog"}
    with refused("'2.png' has several categories, such as 'cat' and 'dog'", "labels.several"):
        from_coco(tmp_path, more)


@pytest.mark.parametrize(
    ("sample", "classes"),
    [
        ("id,predicted\n8,5\n9,5\n", ["5", "6"]),
        ("id,predicted\n8,5 6\n9,6 5\n", ["5", "6"]),
        ("id,6,5,7\n8,0,0,0\n9,0,0,0\n", ["5", "6"]),
        ("id,predicted\n8,cat\n9,cat\n", ["cat", "dog"]),
        ("id,dog,cat\n8,0,0\n9,0,0\n", ["cat", "dog"]),
        ("id,predicted\n8,0.5\n9,0.5\n", None),
    ],
)
def test_a_sample_may_have_the_ids_of_categories(
    tmp_path: Path, sample: str, classes: list[str] | None
) -> None:
    tables = {"labels.json": json.dumps(COCO), "sample.csv": sample}
    options: dict[str, Any] = {
        "labels": {"name": "coco", "file": "labels.json"},
        "sample_submission": "sample.csv",
    }
    if classes is None:
        with refused("holds the probability of one of the classes 'cat' and 'dog'"):
            matched(tmp_path, ["1.png", "2.png"], TEST, tables, **options)
        return
    found = matched(tmp_path, ["1.png", "2.png"], TEST, tables, **options)
    assert found.classes == classes


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[", "not valid JSON"),
        ("[]", "no JSON file like COCO's"),
        ("[" * 100_000, "not valid JSON"),
        ('{"images": ' + "9" * 5000 + "}", "not valid JSON"),
        ("{}", "has no list images"),
        ({"images": {}}, "has no list images"),
        ({"images": []}, "has no images"),
        ({"images": [3]}, "images[1]: id must be"),
        ({"images": [{"id": [], "file_name": "1.png"}]}, "images[1]: id must be"),
        ({"images": [{"id": 1}]}, "images[1]: file_name must be"),
        (COCO | {"categories": [{"id": 5, "name": None}]}, "categories[1]: name must be"),
        (COCO | {"categories": [{"id": 5, "name": "cat"}]}, "annotations[2]: category_id is 6"),
        (COCO | {"annotations": [{"image_id": 1, "category_id": 5}]}, "image_id is 1"),
        (COCO | {"annotations": 5}, "has no list annotations"),
        (COCO | {"annotations": []}, "the label of id 'train/1.png' is empty"),
    ],
)
def test_other_json_is_refused(tmp_path: Path, content: object, words: str) -> None:
    with refused("labels.json", words):
        from_coco(tmp_path, content)


def test_groups_and_fixed_splits_are_columns_of_the_labels(tmp_path: Path) -> None:
    content = "id,label,patient\n1,cat,p1\n2,dog,p1\n3,cat,p2\n4,dog,\n"
    split = {"name": "groups", "file": "labels.csv", "group_column": "patient"}
    found = from_table(tmp_path, content, split=split)
    assert (found.folder / "labels.csv").read_text() == (
        "id,label,group\n1,cat,p1\n2,dog,p1\n3,cat,p2\n4,dog,\n"
    )
    split = {"name": "fixed", "file": "labels.csv", "split_column": "patient", "valid": "p2"}
    found = from_table(tmp_path, content, split=split)
    assert found.rows("labels.csv")[2:] == [["3", "cat", "valid"], ["4", "dog", "train"]]
    with refused("there is no validation image, by the column 'patient'", "split.valid"):
        from_table(tmp_path, content, split=split | {"valid": "p3"})
    with refused("no row has the id of a labelled image"):
        from_table(tmp_path, content, split=split | {"id_column": "label"})


def test_columns_of_a_split_are_no_classes(tmp_path: Path) -> None:
    content = "id,cat,dog,who\n1,1,0,a\n2,0,1,a\n3,1,0,b\n4,0,1,b\n"
    split = {"name": "groups", "file": "labels.csv", "group_column": "who"}
    found = from_table(tmp_path, content, labels=COLUMNS, split=split)
    assert found.rows("labels.csv")[0] == ["1", "cat", "a"]


def test_spaces_around_a_folders_name_do_not_count(tmp_path: Path) -> None:
    paths = ["cat /1.png", "cat /2.png", " dog/1.png", " dog/2.png"]
    found = matched(tmp_path, paths, TEST, {}, labels={"name": "folders"})
    assert found.classes == ["cat", "dog"]
    images = read_manifest(tmp_path / "extracted")
    # As later stages read the tables.
    labelled = labelled_images(images, tmp_path / "labels.csv")
    assert sorted((one.path, one.label) for one in labelled) == [
        ("train/ dog/1.png", "dog"),
        ("train/ dog/2.png", "dog"),
        ("train/cat /1.png", "cat"),
        ("train/cat /2.png", "cat"),
    ]


def test_groups_that_look_the_same_are_the_same(tmp_path: Path) -> None:
    content = "id,label,who\n1,cat,caf\u00e9\n2,dog,cafe\u0301\n3,cat,b\n4,dog,c\n"
    split = {"name": "groups", "file": "labels.csv", "group_column": "who"}
    rows = from_table(tmp_path, content, split=split).rows("labels.csv")
    assert rows[0][2] == rows[1][2] == "caf\u00e9"


def test_groups_of_test_images_are_not_those_of_training_images(tmp_path: Path) -> None:
    tables = {
        "labels.csv": "id,label\n1,cat\n2,dog\n3,cat\n4,dog\n",
        "who.csv": "file,who\ntrain/1.png,a\ntrain/2.png,a\ntest/1.png,b\ntest/3.png,b\n",
    }
    split = {"name": "groups", "file": "who.csv", "id_column": "file", "group_column": "who"}
    found = matched(tmp_path, TRAIN, ["1.png", "3.png"], tables, labels=TABLE, split=split)
    assert [row[2] for row in found.rows("labels.csv")] == ["a", "a", "", ""]
