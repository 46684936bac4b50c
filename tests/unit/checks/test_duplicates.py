"""Equal images: found among labelled and test images, and only if every pixel is the same."""

import json
from pathlib import Path

import numpy as np
import pytest

from builders import make_packed, pixels, refused, write_csv
from imagepipe.checks.duplicates import Duplicates, read_duplicates, write_duplicates
from imagepipe.dataset import packed
from imagepipe.dataset.packed import PackedFile

ROWS = [
    ("1", "cat", "train", 1),
    ("2", "dog", "valid", 2),
    ("3", "cat", "train", 3),
    ("4", "cat", "train", 1),
    ("5", "dog", "valid", 3),
    ("6", "dog", "train", 6),
    ("1", "unknown", "test", 2),
    ("2", "unknown", "test", 7),
    ("3", "unknown", "test", 7),
    ("4", "unknown", "test", 1),
    ("5", "unknown", "test", 8),
]
GROUPS = [
    Duplicates(labelled=["1", "4"], test=["4"]),
    Duplicates(labelled=["2"], test=["1"]),
    Duplicates(labelled=["3", "5"]),
    Duplicates(test=["2", "3"]),
]


def found(folder: Path, rows: list[tuple[str, str, str, int]]) -> list[Duplicates]:
    make_packed(folder, rows)
    write_duplicates(folder / "packed", folder / "duplicates.json")
    return read_duplicates(folder / "duplicates.json")


def save(path: Path, images: np.ndarray) -> PackedFile:
    np.save(path, images)
    return PackedFile.from_array(path)


@pytest.mark.parametrize("chunk_bytes", [1, 3072, 7000, 4 << 20])
def test_equal_images_are_found_in_chunks_of_any_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk_bytes: int
) -> None:
    monkeypatch.setattr(packed, "CHUNK_BYTES", chunk_bytes)
    assert found(tmp_path, ROWS) == GROUPS


def test_images_that_all_differ_make_no_group(tmp_path: Path) -> None:
    rows = [(i, label, split, number) for number, (i, label, split, _) in enumerate(ROWS)]
    assert found(tmp_path, rows) == []
    assert json.loads((tmp_path / "duplicates.json").read_text()) == {"groups": []}


def test_no_test_images_at_all(tmp_path: Path) -> None:
    assert found(tmp_path, ROWS[:6]) == [Duplicates(labelled=["1", "4"]), GROUPS[2]]


def test_the_same_data_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in "ab":
        found(tmp_path / name, ROWS)
    first, second = (tmp_path / name / "duplicates.json" for name in "ab")
    assert first.read_bytes() == second.read_bytes()


def groups_of(folder: Path, labelled: np.ndarray, test: np.ndarray) -> list[Duplicates]:
    """Compare arrays whose images have their row in both of them for an id."""
    folder.mkdir(exist_ok=True)
    for name, images, start in (("labelled", labelled, 0), ("test", test, len(labelled))):
        np.save(folder / f"{name}.npy", images)
        rows = [(start + row, "cat") for row in range(len(images))]
        write_csv(folder / f"{name}.csv", ("id", "label"), rows)
    write_duplicates(folder, folder / "duplicates.json")
    return read_duplicates(folder / "duplicates.json")


@pytest.mark.parametrize("position", [(0, 0, 0), (1, 1, 2)])
def test_one_value_that_differs_by_one_makes_another_image(
    tmp_path: Path, position: tuple[int, int, int]
) -> None:
    images = np.full((2, 2, 2, 3), 100, dtype=np.uint8)
    none = images[:0]
    assert groups_of(tmp_path, images, none) == [Duplicates(["0", "1"])]
    images[(1, *position)] += 1
    assert groups_of(tmp_path, images, none) == []


def test_many_copies_are_one_group(tmp_path: Path) -> None:
    images = np.zeros((300, 2, 2, 3), dtype=np.uint8)
    images[::3] = 1
    ones = list(map(str, range(0, 300, 3)))
    zeros = [str(row) for row in range(300) if row % 3]
    found = groups_of(tmp_path, images[:200], images[200:])
    assert [group.labelled + group.test for group in found] == [ones, zeros]
    assert [len(group.test) for group in found] == [33, 67]


def test_ids_stay_text_and_come_from_the_tables(tmp_path: Path) -> None:
    names = ["007", "ünï 'code'", "a,b", "nan", "1e3"]
    rows = [(name, "cat", "train", 1) for name in names]
    assert found(tmp_path, rows) == [Duplicates(labelled=names)]


def test_an_array_without_its_table_is_refused(tmp_path: Path) -> None:
    make_packed(tmp_path, ROWS)
    write_csv(tmp_path / "packed/test.csv", ("row", "id", "label"), [])
    with refused("test.npy", "--forcerun pack"):
        write_duplicates(tmp_path / "packed", tmp_path / "duplicates.json")
    assert not (tmp_path / "duplicates.json").exists()


@pytest.mark.parametrize("chunk_bytes", [1, 3072 * 2, 4 << 20])
def test_chunks_are_the_array_in_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk_bytes: int
) -> None:
    monkeypatch.setattr(packed, "CHUNK_BYTES", chunk_bytes)
    images = np.stack([pixels(seed) for seed in range(5)])
    file = save(tmp_path / "a.npy", images)
    chunks = list(file.chunks())
    assert len(chunks) == {1: 5, 6144: 3}.get(chunk_bytes, 1)
    assert np.array_equal(np.concatenate(chunks), images)
    assert np.array_equal(file.read(3, 2), images[3:])
