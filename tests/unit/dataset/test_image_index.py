"""Ids as people write them, and the images that they mean."""

import time
import tracemalloc

import pytest

from builders import refused
from imagepipe.dataset.image_index import ImageIndex
from imagepipe.dataset.manifests import Image, image_ids


def index_of(*paths: str) -> ImageIndex:
    ids = image_ids(paths)
    return ImageIndex(
        Image(i, f"train/{p}", 1, 0, n) for n, (i, p) in enumerate(zip(ids, paths, strict=True))
    )


NFC, NFD = "caf\u00e9", "cafe\u0301"


@pytest.mark.parametrize(
    ("path", "written"),
    [
        ("1.png", "1"),
        ("1.png", "1.png"),
        ("1.JPG", "1.JPG"),
        ("1.JPG", "1.jpg"),
        ("1.jpg", "1.JPG"),
        ("1.png", "train/1.png"),
        ("1.png", "./1.png"),
        ("1.png", "/kaggle/input/c/train/1.png"),
        ("1.png", "images\\1.png"),
        ("1.png", "train/1"),
        ("cat/1.png", "train/cat/1.png"),
        ("cat/1.png", "cat/1"),
        ("cat/1.png", "1.png"),
        ("cat/1.png", "1"),
        ("a/cat/1.png", "cat/1.png"),
        ("Cat/1.PNG", "cat\\1"),
        (f"{NFD}.png", NFC),
        (f"{NFC}.png", f"{NFD}.png"),
        (f"{NFD}/1.png", f"train/{NFC}/1.png"),
        ("007.png", "7"),
        ("007.png", "7.0"),
        ("7.png", "007"),
        ("IMG_1.jpeg", "img_1"),
        ("a.b.png", "a.b"),
    ],
)
def test_image_is_found(path: str, written: str) -> None:
    index = index_of(path, "other.png")
    found = index.find(written)
    assert found is not None
    assert found.below == path


@pytest.mark.parametrize(
    ("path", "written"),
    [
        ("cat/1.png", "dog/1.png"),
        ("1.png", "1.jpg"),
        ("1.png", "2"),
        ("1.png", ""),
        ("007.png", "7.5"),
        ("x1.png", "1"),
        ("a.png", "/"),
        ("a.png", "../"),
    ],
)
def test_image_of_another_name_is_not_found(path: str, written: str) -> None:
    assert index_of(path, "other.png").find(written) is None


def test_test_image_of_the_same_name_is_not_found() -> None:
    index = ImageIndex(index_of("1.png", "test/2.png").images, apart=True)
    assert index.find("test/1.png") is None and index.find("../Test/1.png") is None
    assert {index.find(w).below for w in ("train/1.png", "train/test/1.png", "x/1.png")} == {
        "1.png"
    }
    assert index.find("test/2.png").below == index.find("2").below == "test/2.png"


def test_exact_id_goes_first() -> None:
    index = index_of("7.png", "007.png", "A.png", "a.png")
    assert {w: index.find(w).below for w in ("7", "007", "A", "a")} == {
        "7": "7.png",
        "007": "007.png",
        "A": "A.png",
        "a": "a.png",
    }
    assert index.find("07") is None


@pytest.mark.parametrize(
    ("paths", "written", "words"),
    [
        (("1.png", "1.jpg"), "1", ["'1.png' or '1.jpg'"]),
        (("cat/1.png", "dog/1.png"), "1.png", ["'cat/1.png' or 'dog/1.png'"]),
        (("Ab.png", "aB.png"), "AB.png", ["'Ab.png' or 'aB.png'"]),
    ],
)
def test_id_that_may_mean_two_images_is_refused(
    paths: tuple[str, ...], written: str, words: list[str]
) -> None:
    with refused("t.csv: row 3", *words):
        index_of(*paths).find(written, "t.csv", 3)


def test_case_of_an_ending_is_no_difference() -> None:
    index = index_of("A.png", "a.png", "b.JPG")
    found = index.find_all([(1, "A.PNG"), (2, "a"), (3, "b.jpg")], "t.csv")
    assert [image and image.below for image in found] == ["A.png", "a.png", "b.JPG"]


@pytest.mark.parametrize(
    ("paths", "ids"),
    [
        (["1.png", "2.jpg"], ["1", "2"]),
        (["a/1.png", "b/2.png"], ["1", "2"]),
        (["a/1.png", "b/1.png", "c/2.png"], ["a/1", "b/1", "c/2"]),
        (["1.png", "1.jpg", "a/2.png"], ["1.png", "1.jpg", "a/2.png"]),
        ([f"{NFD}.png"], [NFC]),
        ([" a/1.png", "b /1.png"], ["a/1", "b /1"]),
    ],
)
def test_ids_are_as_short_as_they_can_be(paths: list[str], ids: list[str]) -> None:
    assert image_ids(paths) == ids


def test_names_that_differ_only_in_unicode_forms_are_refused() -> None:
    with refused("different forms of Unicode"):
        image_ids([f"{NFC}.png", f"{NFD}.png"])


def test_many_ids_are_found_fast() -> None:
    index = index_of(*(f"{n:06}.jpg" for n in range(50_000)))
    start = time.process_time()
    assert all(index.find(f"train/{n:06}.JPG") for n in range(50_000))
    assert time.process_time() - start < 10


def test_image_that_a_row_means_exactly_is_not_that_of_another_row() -> None:
    index = index_of("aB.png", "007.png", "IMG_1.png")
    rows = [(2, "Ab"), (3, "train/aB.png"), (4, "7"), (5, "007"), (6, "img_1")]
    found = index.find_all(rows, "t.csv")
    assert [image and image.id for image in found] == [None, "aB", None, "007", "IMG_1"]
    assert index.changed_case == {"img_1": "IMG_1"} and not index.changed_numbers


def test_case_matters_where_one_of_two_images_has_a_row() -> None:
    index = index_of("aB.png", "AB.png")
    assert index.find_all([(2, "Ab"), (3, "aB")], "t.csv")[0] is None
    with refused("t.csv: row 2", "'aB.png' or 'AB.png'"):
        index.find_all([(2, "Ab")], "t.csv")


def test_another_case_of_ids_is_logged_and_of_endings_is_not(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    index = index_of("IMG_1.JPG", "IMG_2.JPG")
    index.find_all([(2, "img_1"), (3, "IMG_2.jpg")], "t.csv")
    index.log_changes("t.csv")
    assert "t.csv: 1 ids differ in upper and lower case" in caplog.text
    assert "'img_1' for 'IMG_1'" in caplog.text


def test_memory_of_many_images_in_another_case() -> None:
    index = index_of(*(f"train_images/IMG_{n:06}.JPG" for n in range(50_000)))
    rows = [(n, f"img_{n:06}.jpg") for n in range(50_000)]
    tracemalloc.start()
    assert all(index.find_all(rows, "t.csv"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak / len(rows) < 800  # bytes


def test_many_folders_with_the_same_names_are_searched_fast() -> None:
    index = index_of(*(f"{n}/1.png" for n in range(20_000)))
    start = time.process_time()
    assert not any(index.find_all([(n, f"x{n}/1.png") for n in range(20_000)], "t.csv"))
    assert time.process_time() - start < 10
