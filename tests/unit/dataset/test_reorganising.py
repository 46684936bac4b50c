"""The book's folder tree, and the ways in which it refers to the images."""

import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from torchvision.datasets import ImageFolder

from builders import label_of, make_extracted, png_bytes, refused, write_csv
from imagepipe.dataset.manifests import image_ids
from imagepipe.dataset.reorganising import TREE_COLUMNS, TreeImage, reorganise
from imagepipe.files import read_rows
from listed_images import make_listed

LABELS = {str(number): label_of(number) for number in range(1, 25)}
VALID = {"2", "13", "20"}


def write_test(folder: Path, *ids: str) -> Path:
    """Write test.csv, and return its path."""
    write_csv(folder / "test.csv", ("id", "submission_id"), ((i, i) for i in ids))
    return folder / "test.csv"


def reorganised(folder: Path, link_mode: str = "auto", tree: str = "tree") -> Path:
    """Write extracted images and a split, and return the tree that is made of them."""
    if not (folder / "extracted").exists():
        make_extracted(folder / "extracted", LABELS, test_ids=("1", "7", "30"))
    rows = ((i, label, "valid" if i in VALID else "train") for i, label in LABELS.items())
    write_csv(folder / "split.csv", ("id", "label", "split"), rows)
    test = write_test(folder, "1", "7", "30")
    reorganise(folder / "extracted", folder / "split.csv", test, folder / tree, link_mode)
    return folder / tree


def files_of(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*.png")}


def test_tree_is_read_by_torchvision_with_sorted_classes(tmp_path: Path) -> None:
    tree = reorganised(tmp_path)
    for name, number in (("train_valid", 24), ("train", 21), ("valid", 3), ("test", 3)):
        dataset = ImageFolder(str(tree / name))
        assert len(dataset) == number
        classes = ["unknown"] if name == "test" else {LABELS[i] for i in ids_of(tree / name)}
        assert dataset.classes == sorted(classes)
    dataset = ImageFolder(str(tree / "train_valid"))
    for path, number in dataset.samples:
        assert dataset.classes[number] == LABELS[Path(path).stem]


def ids_of(folder: Path) -> list[str]:
    return [path.stem for path in folder.rglob("*.png")]


def test_train_and_valid_are_disjoint_and_together_train_valid(tmp_path: Path) -> None:
    tree = reorganised(tmp_path)
    train, valid = files_of(tree / "train"), files_of(tree / "valid")
    assert not train & valid
    assert train | valid == files_of(tree / "train_valid")
    assert sorted(ids_of(tree / "valid")) == sorted(VALID)
    assert files_of(tree / "test") == {"unknown/1.png", "unknown/7.png", "unknown/30.png"}


@pytest.mark.parametrize("mode", ["hardlink", "symlink", "copy"])
def test_link_mode_decides_what_the_tree_is_made_of(tmp_path: Path, mode: str) -> None:
    tree = reorganised(tmp_path, mode)
    source = tmp_path / "extracted/train/2.png"
    for image in (tree / "valid/automobile/2.png", tree / "train_valid/automobile/2.png"):
        assert image.read_bytes() == png_bytes(2)
        assert image.is_symlink() is (mode == "symlink")
        assert image.samefile(source) is (mode != "copy")
    # It still holds when the folder of both is moved.
    moved = tmp_path.rename(tmp_path.with_name("moved"))
    assert (moved / "tree/valid/automobile/2.png").read_bytes() == png_bytes(2)
    moved.rename(tmp_path)


@pytest.mark.parametrize(
    ("refused_calls", "is_link"), [(["link"], True), (["link", "symlink"], False)]
)
def test_auto_falls_back_where_the_file_system_has_no_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused_calls: list[str], is_link: bool
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("links are not supported")

    assert not (reorganised(tmp_path, tree="usual") / "valid/automobile/2.png").is_symlink()
    for name in refused_calls:
        monkeypatch.setattr(os, name, refuse)
    image = reorganised(tmp_path) / "valid/automobile/2.png"
    assert image.read_bytes() == png_bytes(2)
    assert image.is_symlink() is is_link
    assert image.stat().st_nlink == (3 if is_link else 1)


@pytest.mark.parametrize("mode", ["hardlink", "symlink", "copy", "auto"])
@pytest.mark.parametrize("name", ["train/5.png", "test/7.png"])
def test_image_that_was_removed_is_named(tmp_path: Path, name: str, mode: str) -> None:
    make_extracted(tmp_path / "extracted", LABELS, test_ids=("1", "7", "30"))
    (tmp_path / "extracted" / name).unlink()
    with refused(str(tmp_path / "extracted" / name), "is gone", "--forcerun extract"):
        reorganised(tmp_path, mode)


def test_row_of_the_split_without_image_is_named(tmp_path: Path) -> None:
    make_extracted(tmp_path / "extracted", LABELS)
    split = tmp_path / "split.csv"
    write_csv(split, ("id", "label", "split"), [("1", "cat", "train"), ("99", "cat", "valid")])
    with refused(str(split), "row 3", "'99'", "--forcerun labels"):
        reorganise(tmp_path / "extracted", split, write_test(tmp_path, "1"), tmp_path / "tree")


def test_same_images_give_the_same_manifest(tmp_path: Path) -> None:
    first = reorganised(tmp_path, tree="first") / "manifest.tsv"
    second = reorganised(tmp_path, "copy", tree="second") / "manifest.tsv"
    assert first.read_bytes() == second.read_bytes()


def test_manifest_tells_id_label_and_split_of_every_image(tmp_path: Path) -> None:
    tree = reorganised(tmp_path)
    rows = (row for _, row in read_rows(tree / "manifest.tsv", TREE_COLUMNS, "\t"))
    images = [TreeImage(*fields, size=int(size)) for *fields, size in rows]
    labelled = [image for image in images if image.split != "test"]
    assert [(i.id, i.label) for i in labelled] == list(LABELS.items())
    assert {i.id for i in labelled if i.split == "valid"} == VALID
    assert [(i.id, i.label) for i in images[24:]] == [(i, "unknown") for i in ("1", "7", "30")]
    for image in images:
        assert image.path == f"{image.split}/{image.label}/{image.id}.png"
        assert image.size == (tree / image.path).stat().st_size


def tree_of(folder: Path, paths: Sequence[str], labels: Sequence[str]) -> set[str]:
    """Return the files of the tree of images in train/ with these paths; the last is for testing.

    The first is for validation.
    """
    extracted = make_listed(folder / "extracted", paths)
    for path in paths:
        (extracted / "train" / path).parent.mkdir(parents=True, exist_ok=True)
        (extracted / "train" / path).write_bytes(bytes(100))
    ids = image_ids(paths)
    rows = [(i, label, "train") for i, label in zip(ids[:-1], labels, strict=True)]
    rows[0] = (*rows[0][:2], "valid")
    write_csv(folder / "split.csv", ("id", "label", "split"), rows)
    test = write_test(folder, ids[-1])
    reorganise(extracted, folder / "split.csv", test, folder / "tree")
    return {str(path.relative_to(folder / "tree")) for path in folder.rglob("tree/*/*/*")}


def test_test_images_may_lie_with_the_training_images(tmp_path: Path) -> None:
    found = tree_of(tmp_path, ["x/1.png", "2.JPG", "x/3.png"], ["a", "b"])
    assert found == {
        "valid/a/1.png",
        "train_valid/a/1.png",
        "train/b/2.JPG",
        "train_valid/b/2.JPG",
        "test/unknown/3.png",
    }


@pytest.mark.parametrize(
    ("paths", "labels", "files"),
    [
        (["cat/1.png", "dog/1.png", "9.png"], ["cat", "dog"], ["cat/cat_1.png", "dog/dog_1.png"]),
        (["x/1.png", "x/1.jpg", "9.png"], ["a", "b"], ["a/x_1.png", "b/x_1.jpg"]),
        (["1.png", "2.png", "9.png"], ["a/b", ".c"], ["a_b/1.png", "_c/2.png"]),
        (["1.png", "2.png", "9.png"], ["a|b", ""], ["a+b/1.png", "none/2.png"]),
        (["1.png", "2.png", "9.png"], ["..", "C:x"], ["_./1.png", "C_x/2.png"]),
    ],
)
def test_labels_and_ids_become_safe_names(
    tmp_path: Path, paths: list[str], labels: list[str], files: list[str]
) -> None:
    found = tree_of(tmp_path, paths, labels)
    assert {path for path in found if path.startswith("train_valid")} == {
        f"train_valid/{file}" for file in files
    }


def test_long_names_are_shortened(tmp_path: Path) -> None:
    label = "|".join("ä" * 40 + str(n) for n in range(9))
    found = tree_of(tmp_path, ["1.png", "2.png", "9.png"], [label, label + "x"])
    assert len(found) == 5
    assert all(len(path.encode()) < 300 for path in found)


def test_labels_that_would_share_a_folder_are_refused(tmp_path: Path) -> None:
    with refused("split.csv", "'a/b' and 'a_b' would share the folder 'a_b'", "layout"):
        tree_of(tmp_path, ["1.png", "2.png", "9.png"], ["a/b", "a_b"])


def test_images_that_would_get_one_path_are_refused(tmp_path: Path) -> None:
    paths = ["a/b_1.png", "a_b/1.png", "x/1.png", "9.png"]
    with refused("train/a/a_b_1.png", "train/a/b_1.png and train/a_b/1.png"):
        tree_of(tmp_path, [paths[2], *paths[:2], paths[3]], ["b", "a", "a"])
