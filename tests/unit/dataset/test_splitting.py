"""The validation set: the book's rule, and the same images on every machine."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest

from builders import label_of, refused, write_csv
from imagepipe.dataset.splitting import draw_valid, write_split


def labels_of(counts: Mapping[str, int]) -> dict[str, str]:
    """Return {id: label} with so many images of each class, ids from 1."""
    labels = [label for label, count in counts.items() for _ in range(count)]
    return {str(number): label for number, label in enumerate(labels, start=1)}


@pytest.mark.parametrize(
    ("counts", "ratio", "per_class"),
    [
        ({"a": 20, "b": 20}, 0.1, 2),
        ({"a": 100, "b": 35, "c": 29}, 0.1, 2),
        ({"a": 100, "b": 9}, 0.1, 1),
        ({"a": 100, "b": 1}, 0.5, 1),
        ({"a": 100, "b": 120}, 0.29, 29),  # 0.29 * 100 is 28.999999999999996
        ({"a": 100, "b": 100}, 0.57, 57),  # 56.99999999999999
        ({"a": 10, "b": 10}, 0.99, 9),
        ({"a": 1000, "b": 1000}, 1e-5, 1),
        ({"a": 1000, "b": 1000}, 0.015, 15),
        (dict.fromkeys("abcdefghij", 5000), 0.1, 500),
    ],
)
def test_every_class_gives_the_share_of_the_rarest(
    counts: dict[str, int], ratio: float, per_class: int
) -> None:
    label_of = labels_of(counts)
    valid = draw_valid(label_of, ratio, split_seed=0)
    assert Counter(label_of[i] for i in valid) == dict.fromkeys(counts, per_class)
    assert len(valid) == per_class * len(counts)


# Drawn with SHA-256, by a program that is not the library.
SEED_0 = ["10", "16", "31", "39", "46", "50"]
SEED_1 = ["3", "11", "32", "37", "44", "56"]


def test_split_is_the_same_on_every_machine() -> None:
    label_of = labels_of({"cat": 20, "dog": 20, "frog": 20})
    assert sorted(draw_valid(label_of, 0.1, split_seed=0), key=int) == [
        "10",
        "16",
        "31",
        "39",
        "46",
        "50",
    ]
    assert sorted(draw_valid(label_of, 0.1, split_seed=1), key=int) == [
        "3",
        "11",
        "32",
        "37",
        "44",
        "56",
    ]


def test_split_does_not_depend_on_the_order_of_the_images() -> None:
    label_of = labels_of({"cat": 30, "dog": 40})
    backwards = dict(reversed(label_of.items()))
    assert draw_valid(label_of, 0.2, 0) == draw_valid(backwards, 0.2, 0)


def test_another_seed_draws_other_images() -> None:
    label_of = labels_of({"cat": 100, "dog": 100})
    drawn = {draw_valid(label_of, 0.1, seed) for seed in range(5)}
    assert len(drawn) == 5


def test_larger_ratio_keeps_the_images_of_the_smaller() -> None:
    label_of = labels_of({"cat": 100, "dog": 100})
    assert draw_valid(label_of, 0.1, 0) < draw_valid(label_of, 0.2, 0)


def test_images_are_drawn_from_the_whole_of_a_class() -> None:
    """Not, say, the first ones of each: the drawn ids are spread over the class."""
    label_of = dict.fromkeys(map(str, range(1, 1001)), "cat")
    drawn = [int(i) for i in draw_valid(label_of, 0.2, 0)]
    assert 400 < sum(drawn) / len(drawn) < 600
    assert sum(number <= 500 for number in drawn) in range(80, 121)


def test_every_image_is_written_once_as_train_or_valid(tmp_path: Path) -> None:
    labels = {str(number): label_of(number) for number in range(1, 101)}
    write_csv(tmp_path / "labels.csv", ("id", "label"), labels.items())
    write_split(tmp_path / "labels.csv", tmp_path / "split.csv", 0.2, 0)
    header, *lines = (tmp_path / "split.csv").read_text().splitlines()
    rows = [tuple(line.split(",")) for line in lines]
    assert header == "id,label,split"
    assert [row[:2] for row in rows] == list(labels.items())
    assert Counter(row[2] for row in rows) == {"train": 80, "valid": 20}
    assert {row[0] for row in rows if row[2] == "valid"} == draw_valid(labels, 0.2, 0)


def test_split_that_leaves_nothing_to_train_on_is_refused(tmp_path: Path) -> None:
    labels = tmp_path / "labels.csv"
    write_csv(labels, ("id", "label"), [("1", "cat"), ("2", "dog")])
    with refused(str(labels), "two images"):
        write_split(labels, tmp_path / "split.csv", 0.1, 0)
    assert not (tmp_path / "split.csv").exists()
