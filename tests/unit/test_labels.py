"""The labels of the training images: what is accepted, and that a bad row is named."""

from pathlib import Path

import pytest

from builders import dataset_options, label_of, make_extracted, refused
from imagepipe.labels import write_labels
from imagepipe.packed_images import read_classes

LABELS = {str(number): label_of(number) for number in range(1, 12)}
ROWS = [f"{image_id},{label}" for image_id, label in LABELS.items()]


def written(folder: Path, content: bytes | None = None, **changes: object) -> tuple[str, list[str]]:
    """Run on a labels file, and return the text of labels.csv and the classes."""
    make_extracted(folder / "extracted", LABELS)
    if content is not None:
        (folder / "extracted" / "trainLabels.csv").write_bytes(content)
    dataset = dataset_options("cifar10", **changes)
    write_labels(dataset, folder / "extracted", folder / "labels.csv", folder / "classes.txt")
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
        (table(*ROWS, "3.png,cat"), ["row 13", "'3'", "row 4"]),
        (table(*ROWS, "12,cat"), ["row 13", "'12'", "no training image"]),
        (table(*ROWS[:-1]), ["11.png", "no row"]),
        (changed(5, "4,"), ["row 5", "'4'", "label", "empty"]),
        (changed(5, "4, "), ["row 5", "'4'", "label", "empty"]),
        (changed(5, ",cat"), ["row 5", "id is empty"]),
        (changed(5, "4"), ["row 5", "1 fields"]),
        (changed(5, "4,cat,x"), ["row 5", "3 fields"]),
        (changed(5, "4,../x"), ["row 5", "'../x'", "folder"]),
        (changed(5, "4,a/b"), ["row 5", "'a/b'", "folder"]),
        (changed(5, "4,a\\b"), ["row 5", "folder"]),
        (changed(5, "4,.hidden"), ["row 5", "'.hidden'", "folder"]),
        (changed(5, "4,.."), ["row 5", "'..'", "folder"]),
        (changed(5, "4,C:x"), ["row 5", "folder"]),
        (changed(5, '4,"a\nb"'), ["folder"]),
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
        write_labels(
            dataset_options("cifar10"),
            tmp_path / "extracted",
            tmp_path / "labels.csv",
            tmp_path / "classes.txt",
        )
