"""The header and the ids that a submission must have."""

from pathlib import Path
from typing import Any

import pytest

from builders import dataset_options, refused
from imagepipe.config.dataset import Submission
from imagepipe.dataset.submission_form import read_form, read_header

CLASSES = ("cat", "dog", "frog")
IDS = ("3", "10", "200")


def options(**changes: Any) -> Submission:
    return dataset_options("cifar10", submission=changes).submission


@pytest.mark.parametrize(
    ("content", "header", "ids"),
    [
        (b"id,label\n10,cat\n3,cat\n200,cat\n", ("id", "label"), ("10", "3", "200")),
        (b"Id,Breed\r\n3,\r\n10,\r\n200,\r\n", ("Id", "Breed"), IDS),
        (b"\xef\xbb\xbfid,label\n3,cat\n10,cat\n200,cat\n", ("id", "label"), IDS),
    ],
)
def test_header_and_order_are_those_of_the_sample(
    tmp_path: Path, content: bytes, header: tuple[str, ...], ids: tuple[str, ...]
) -> None:
    sample = tmp_path / "sample.csv"
    sample.write_bytes(content)
    form = read_form(sample, options(), IDS, CLASSES)
    assert (form.header, tuple(form.ids)) == (header, ids)


def test_ids_may_be_written_with_the_extension_of_the_images(tmp_path: Path) -> None:
    sample = tmp_path / "sample.csv"
    sample.write_text("id,label\n10.jpg,cat\n3.jpg,cat\n200.jpg,cat\n")
    form = read_form(sample, options(), IDS, CLASSES, "jpg")
    assert form.ids == {"10.jpg": "10", "3.jpg": "3", "200.jpg": "200"}
    with refused("row 2", "'10.jpg'"):
        read_form(sample, options(), IDS, CLASSES, "png")


@pytest.mark.parametrize(
    ("changes", "header"),
    [
        ({}, ("id", "label")),
        ({"id_column": "image", "label_column": "class"}, ("image", "class")),
        ({"format": "probability"}, ("id", *CLASSES)),
    ],
)
def test_without_sample_the_ids_are_in_numeric_order(
    changes: dict[str, str], header: tuple[str, ...]
) -> None:
    form = read_form(None, options(**changes), ("200", "10", "3"), CLASSES)
    assert (form.header, tuple(form.ids)) == (header, IDS)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("id,label\n3,cat\n10,cat\n", ["no row", "'200'"]),
        ("id,label\n3,cat\n10,cat\n200,cat\n4,cat\n", ["row 5", "'4'", "no test image"]),
        ("id,label\n3,cat\n10,cat\n200,cat\n3,cat\n", ["row 5", "'3'", "twice"]),
        ("id,label\n3,cat\n10\n200,cat\n", ["row 3", "1 fields"]),
        ("id,cat,dog,frog\n3,1,0,0\n", ["row 1", "4 columns", "submission.format"]),
        ("id\n3\n10\n200\n", ["row 1", "1 columns"]),
        ("", ["row 1"]),
        ("id,\n3,cat\n", ["row 1", "header"]),
        ("id,id\n3,cat\n", ["row 1", "header"]),
    ],
)
def test_sample_that_does_not_fit_the_test_images_is_refused(
    tmp_path: Path, content: str, words: list[str]
) -> None:
    sample = tmp_path / "sample.csv"
    sample.write_text(content)
    with refused(str(sample), *words):
        read_form(sample, options(), IDS, CLASSES)


def test_probability_columns_may_be_in_any_order_but_must_be_the_classes(tmp_path: Path) -> None:
    sample = tmp_path / "sample.csv"
    rows = "".join(f"{i},0,0,1\n" for i in IDS)
    sample.write_text(f"id,frog,cat,dog\n{rows}")
    form = read_form(sample, options(format="probability"), IDS, CLASSES)
    assert form.header == ("id", "frog", "cat", "dog")
    sample.write_text(f"id,frog,cat,wolf\n{rows}")
    with refused(str(sample), "row 1", "wolf", "dog"):
        read_form(sample, options(format="probability"), IDS, CLASSES)


def test_sample_that_is_not_text_is_refused(tmp_path: Path) -> None:
    sample = tmp_path / "sample.csv"
    sample.write_bytes("id,größe\n".encode("latin-1"))
    with refused(str(sample), "UTF-8"):
        read_header(sample)
