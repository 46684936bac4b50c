"""The labels of the training images: what is accepted, and that a bad row is named."""

from pathlib import Path

import pytest

from builders import dataset_options, label_of, make_extracted, refused
from imagepipe.config.dataset import Dataset
from imagepipe.dataset.deciding import decide_form
from imagepipe.dataset.labels import LabelOptions, match_labels
from imagepipe.dataset.packed import read_classes

LABELS = {str(number): label_of(number) for number in range(1, 12)}
OUTPUTS = ("labels.csv", "classes.txt", "unmatched.csv")
ROWS = [f"{image_id},{label}" for image_id, label in LABELS.items()]


def match(folder: Path, dataset: Dataset | None = None, on_bad_image: str = "error") -> None:
    """Match the labels of a dataset that has been extracted."""
    dataset = dataset or dataset_options("cifar10")
    options = LabelOptions(
        labels=dataset.labels,
        sample_submission=dataset.sample_submission,
        on_bad_image=on_bad_image,
    )
    match_labels(folder / "extracted", folder, options)
    decide_form(folder / "extracted", folder, options)


def written(
    folder: Path, content: bytes | None = None, on_bad_image: str = "error", **changes: object
) -> tuple[str, list[str]]:
    """Run on a labels file, and return the text of labels.csv and the classes."""
    make_extracted(folder / "extracted", LABELS)
    if content is not None:
        (folder / "extracted" / "trainLabels.csv").write_bytes(content)
    match(folder, dataset_options("cifar10", **changes), on_bad_image)
    return (folder / "labels.csv").read_text(), list(read_classes(folder / "classes.txt"))


def table(*rows: str, header: str = "id,label") -> bytes:
    return "".join(f"{row}\n" for row in (header, *rows)).encode()


@pytest.mark.parametrize(
    ("content", "changes"),
    [
        (table(*ROWS), {}),
        (table(*reversed(ROWS)), {}),
        (table(*ROWS).replace(b"\n", b"\r\n"), {}),
        (b"\xef\xbb\xbf" + table(*ROWS), {}),
        (table(*(row.replace(",", ".png,") for row in ROWS)), {}),
        (
            table(*(f"{row},x" for row in ROWS), header="file,breed,note"),
            {"labels": {"id_column": "file", "label_column": "breed"}},
        ),
    ],
    ids=["as it is", "other order", "CRLF", "byte-order mark", "ids with extension", "columns"],
)
def test_labels_are_written_in_numeric_order_of_the_ids(
    tmp_path: Path, content: bytes, changes: dict[str, object]
) -> None:
    labels, classes = written(tmp_path, content, **changes)
    assert labels == table(*ROWS).decode()
    assert classes == sorted(set(LABELS.values()))


def changed(row: int, text: str) -> bytes:
    """Return the labels with another text in a row of the file (the header is row 1)."""
    rows = list(ROWS)
    rows[row - 2] = text
    return table(*rows)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", ["row 1", "'id'"]),
        (table(), ["no rows"]),
        (table(*ROWS, header="id,class"), ["row 1", "'label'", "id, class"]),
        (table(*ROWS, header="number,label"), ["row 1", "'id'"]),
        (table(*ROWS, "3,cat"), ["row 13", "'3'", "row 4"]),
        (table(*ROWS, "3.png,cat"), ["row 13", "'3.png'", "row 4"]),
        (table(*ROWS, "12,cat"), ["row 13", "'12'", "no training image"]),
        (table(*ROWS[:-1]), ["11.png", "no row"]),
        (changed(5, "4,"), ["row 5", "'4'", "label", "empty"]),
        (changed(5, "4, "), ["row 5", "'4'", "label", "empty"]),
        (changed(5, ",cat"), ["row 5", "id is empty"]),
        (changed(5, "4"), ["row 5", "1 fields"]),
        (changed(5, "4,cat,x"), ["row 5", "3 fields"]),
        (changed(5, '4,"a\nb"'), ["row 6", "control character"]),
        (changed(5, f"4,{'ä' * 128}"), ["row 5", "longer than 255 bytes"]),
        (table(*ROWS).replace(b"cat", b"c\xe4t"), ["UTF-8"]),
        (table(*(f"{image_id},cat" for image_id in LABELS)), ["'cat'", "two classes"]),
    ],
)
def test_labels_that_cannot_be_used_are_refused_with_file_and_row(
    tmp_path: Path, content: bytes, words: list[str]
) -> None:
    with refused(str(tmp_path / "extracted" / "trainLabels.csv"), *words):
        written(tmp_path, content)
    assert not (tmp_path / "labels.csv").exists()


def test_classes_may_have_names_in_any_language(tmp_path: Path) -> None:
    content = table(*ROWS).replace(b"cat", "größere Katze".encode())
    labels, classes = written(tmp_path, content)
    assert "4,größere Katze\n" in labels
    assert "größere Katze" in classes


def test_sample_submission_is_checked_before_any_training(tmp_path: Path) -> None:
    make_extracted(tmp_path / "extracted", LABELS, test_ids=("1", "2"))
    sample = tmp_path / "extracted" / "sampleSubmission.csv"
    sample.write_text("id,label\n1,cat\n2,cat\n3,cat\n")
    with refused(str(sample), "row 4", "'3'"):
        match(tmp_path)


def test_labels_and_images_that_do_not_match_are_left_out_if_asked_for(tmp_path: Path) -> None:
    content = table(*ROWS[:-2], "300,cat", "20,cat")
    labels, classes = written(tmp_path, content, "drop")
    assert labels == table(*ROWS[:-2]).decode()
    assert classes == sorted({label_of(number) for number in range(1, 10)})
    expected = "id,problem\n20,no image\n300,no image\n10,no label\n11,no label\n"
    assert (tmp_path / "unmatched.csv").read_text() == expected


def test_unmatched_is_only_a_header_where_all_is_well(tmp_path: Path) -> None:
    written(tmp_path)
    assert (tmp_path / "unmatched.csv").read_text() == "id,problem\n"


def test_class_that_is_left_with_no_image_is_none(tmp_path: Path) -> None:
    _, classes = written(tmp_path, table(*ROWS, "300,unicorn"), "drop")
    assert "unicorn" not in classes


def test_labels_of_other_images_altogether_are_refused(tmp_path: Path) -> None:
    with refused("trainLabels.csv", "no row has the id of a training image"):
        written(tmp_path, table("901,cat", "902,dog"), "drop")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (table(*ROWS, "300,cat"), "there is no training image with id '300'; remove the row"),
        (
            table(*ROWS, "300,cat", "301,cat", "302,cat"),
            "there is no training image with id '300' (and 2 more ids have none); remove the row",
        ),
        (
            table(*ROWS[:-2]),
            "no row for the training image 10.png (and 1 more image has none); add its label",
        ),
    ],
)
def test_message_says_how_many_more_have_the_same_problem(
    tmp_path: Path, content: bytes, words: str
) -> None:
    with refused(words, "on_bad_image"):
        written(tmp_path, content)


def test_ids_in_the_table_for_people_are_no_formulas_and_labels_stay_as_they_are(
    tmp_path: Path,
) -> None:
    content = table(*ROWS[:-1], "11,=1+1", "=cmd(),cat")
    labels, classes = written(tmp_path, content, "drop")
    assert "11,=1+1\n" in labels
    assert "=1+1" in classes
    assert (tmp_path / "unmatched.csv").read_text() == "id,problem\n'=cmd(),no image\n"


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("id", ["'id' is neither an id and a label nor"]),
        ("id,cat,dog", ["no column for classes 'airplane', 'automobile', 'bird' and 5 more"]),
        ("id,", ["'id' is neither an id and a label nor"]),
    ],
)
def test_header_of_the_sample_submission_is_checked_before_any_training(
    tmp_path: Path, header: str, words: list[str]
) -> None:
    make_extracted(tmp_path / "extracted", LABELS, test_ids=("1", "2"))
    sample = tmp_path / "extracted" / "sampleSubmission.csv"
    commas = "," * header.count(",")
    sample.write_text(f"{header}\n1{commas}\n2{commas}\n")
    with refused(str(sample), "row 1", *words):
        match(tmp_path)
    assert not (tmp_path / "submission_form.json").exists()


def test_sample_submission_may_have_a_column_for_each_class(tmp_path: Path) -> None:
    make_extracted(tmp_path / "extracted", LABELS, test_ids=("1", "2"))
    classes = sorted(set(LABELS.values()), reverse=True)
    rows = "".join(f"{i}{',0' * len(classes)}\n" for i in (1, 2))
    sample = tmp_path / "extracted" / "sampleSubmission.csv"
    sample.write_text(f"id,{','.join(classes)}\n{rows}")
    match(tmp_path)
    assert all((tmp_path / output).exists() for output in OUTPUTS)
