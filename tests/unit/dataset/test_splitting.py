"""The validation set: the rules of the draw, and the same images on every machine."""

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest

from builders import label_of, refused, write_csv
from imagepipe.config.dataset import BookSplit, FixedSplit, GroupSplit, Split, StratifiedSplit
from imagepipe.dataset.splitting import (
    HashOrder,
    draw_groups,
    draw_stratified,
    draw_valid,
    write_split,
)


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


def stratified(counts: Mapping[str, int], ratio: float, seed: int = 0) -> Counter[str]:
    """Return how many validation images each class gives."""
    classes = {i: (label,) for i, label in labels_of(counts).items()}
    valid = draw_stratified(classes, ratio, HashOrder(seed))
    return Counter(classes[i][0] for i in valid)


@pytest.mark.parametrize(
    ("counts", "ratio", "expected"),
    [
        ({"A": 20_000, "B": 9}, 0.1, {"A": 2_000, "B": 1}),
        ({"A": 100, "B": 29}, 0.1, {"A": 10, "B": 2}),
        ({"A": 100, "B": 2, "C": 1}, 0.1, {"A": 10, "B": 1}),
        ({"A": 100, "B": 2}, 0.99, {"A": 99, "B": 1}),
        ({"A": 1, "B": 1}, 0.5, {}),
        ({"A": 100}, 0.29, {"A": 29}),
    ],
)
def test_stratified_takes_each_class_at_its_own_share(
    counts: dict[str, int], ratio: float, expected: dict[str, int]
) -> None:
    assert stratified(counts, ratio) == expected


def test_stratified_equals_the_book_for_equal_classes() -> None:
    label_of = labels_of({"cat": 30, "dog": 30})
    classes = {i: (label,) for i, label in label_of.items()}
    assert draw_stratified(classes, 0.2, HashOrder(3)) == draw_valid(label_of, 0.2, 3)


def several_of(count: int) -> dict[str, tuple[str, ...]]:
    """Return images with up to three classes: a common, one in 10, one in 50."""
    return {
        str(n): tuple(
            name for name, every in (("common", 2), ("rare", 10), ("rarest", 50)) if n % every == 0
        )
        or ("",)
        for n in range(count)
    }


def test_stratified_holds_the_share_of_each_of_several_labels() -> None:
    classes = several_of(1_000)
    valid = draw_stratified(classes, 0.2, HashOrder(0))
    found = Counter(name for i in valid for name in classes[i])
    assert found == {"common": 100, "rare": 20, "rarest": 4, "": 100}


def test_class_never_loses_its_last_training_image() -> None:
    """Both images of x are the ones that two rarer classes would give."""
    classes = {"1": ("x", "y"), "2": ("y",), "3": ("x", "z"), "4": ("z",)}
    for seed in range(20):
        valid = draw_stratified(classes, 0.5, HashOrder(seed))
        assert {name for i in classes.keys() - valid for name in classes[i]} == {"x", "y", "z"}
        assert valid


def grouped(
    groups: Mapping[str, Mapping[str, int]], ratio: float = 0.1, seed: int = 0
) -> tuple[dict[str, tuple[str, ...]], dict[str, str], frozenset[str]]:
    """Draw among groups {name: {class: number of images}}."""
    classes: dict[str, tuple[str, ...]] = {}
    group_of: dict[str, str] = {}
    for group, counts in groups.items():
        for label, number in counts.items():
            for _ in range(number):
                image_id = str(len(classes))
                classes[image_id], group_of[image_id] = (label,), group
    valid = draw_groups(classes, group_of, ratio, HashOrder(seed), Path("labels.csv"))
    return classes, group_of, valid


def test_no_group_is_on_both_sides_and_shares_are_kept() -> None:
    """As in a competition with 26 drivers."""
    drivers = {f"p{n:02}": {f"c{c}": 20 + (n * c) % 7 for c in range(10)} for n in range(26)}
    for seed in range(5):
        classes, group_of, valid = grouped(drivers, 0.2, seed)
        train = classes.keys() - valid
        assert not {group_of[i] for i in valid} & {group_of[i] for i in train}
        assert 0.15 < len(valid) / len(classes) < 0.25
        assert {classes[i] for i in valid} == set(classes.values())


def test_rare_class_is_in_the_validation_set_of_groups() -> None:
    """As in a competition with patients, few of them ill."""
    patients = {f"p{n}": {"0": 3, "1": int(n % 20 == 0)} for n in range(200)}
    for seed in range(5):
        classes, _, valid = grouped(patients, 0.1, seed)
        assert Counter(classes[i][0] for i in valid) == {"0": 60, "1": 1}


def test_images_without_group_are_each_their_own() -> None:
    _, _, valid = grouped({"": {"a": 50, "b": 50}})
    assert len(valid) == 10


def test_smallest_group_is_taken_where_all_are_large() -> None:
    _, group_of, valid = grouped({"p": {"a": 9, "b": 9}, "q": {"a": 8, "b": 8}, "r": {"a": 9}})
    assert {group_of[i] for i in valid} == {"r"}


def test_group_that_has_all_images_of_a_class_stays_in_training() -> None:
    groups = {"only": {"rare": 3, "a": 1}, **{f"p{n}": {"a": 3} for n in range(20)}}
    for seed in range(5):
        _, group_of, valid = grouped(groups, 0.2, seed)
        assert "only" not in {group_of[i] for i in valid}
        assert valid


def test_groups_that_leave_a_class_without_training_images_are_refused() -> None:
    with refused(
        "labels.csv", "each of the 2 groups", "'p' has those of 'a'", "split.group_column"
    ):
        grouped({"p": {"a": 5}, "q": {"b": 5}})
    with refused("labels.csv", "all images are of the group 'p'", "split.group_column"):
        grouped({"p": {"a": 5, "b": 5}})


def split_of(
    folder: Path, rows: Mapping[str, str], rule: Split, *columns: str, decoded: Path | None = None
) -> dict[str, str]:
    """Return which split each image gets."""
    text = "".join(f"{i},{rest}\n" for i, rest in rows.items())
    (folder / "labels.csv").write_text(f"{','.join(('id', 'label', *columns))}\n{text}")
    write_split(folder / "labels.csv", folder / "split.csv", 0.25, 0, rule, decoded)
    lines = (folder / "split.csv").read_text().splitlines()[1:]
    return {line.split(",")[0]: line.split(",")[2] for line in lines}


def test_every_rule_writes_its_split(tmp_path: Path) -> None:
    rows = {str(n): "ab"[n % 2] for n in range(8)}
    assert Counter(split_of(tmp_path, rows, StratifiedSplit()).values()) == {"train": 6, "valid": 2}
    groups = {i: f"{label},g{int(i) // 2}" for i, label in rows.items()}
    rule = GroupSplit(file="f.csv", group_column="g")
    found = split_of(tmp_path, groups, rule, "group")
    assert Counter(found.values()) == {"train": 6, "valid": 2}
    assert all(found[str(n)] == found[str(n + 1)] for n in range(0, 8, 2))
    fixed = {i: f"{label},{'valid' if i in '67' else 'train'}" for i, label in rows.items()}
    found = split_of(tmp_path, fixed, FixedSplit(file="f.csv"), "split")
    assert {i for i, name in found.items() if name == "valid"} == {"6", "7"}


@pytest.mark.parametrize(("lost", "what"), [("67", "validation"), ("12345", "training")])
def test_fixed_split_without_images_says_so(tmp_path: Path, lost: str, what: str) -> None:
    rows = {i: f"{'ab'[int(i) % 2]},{'valid' if i in '67' else 'train'}" for i in "1234567"}
    undecodable = [{"image": f"train/{i}.png", "problem": ""} for i in lost]
    decoded = tmp_path / "decoded.json"
    decoded.write_text(json.dumps({"labelled": {"undecodable": undecodable}}))
    with refused(f"no {what} image of the fixed split is left", "correct split"):
        split_of(tmp_path, rows, FixedSplit(file="f.csv"), "split", decoded=decoded)


def test_images_that_could_not_be_decoded_are_left_out_of_the_draw(tmp_path: Path) -> None:
    """Else the only validation image of a small dataset might be a bad one."""
    rows = {f"{n}": "ab"[n % 2] for n in range(6)}
    valid = {
        i for i, name in split_of(tmp_path, rows, StratifiedSplit()).items() if name == "valid"
    }
    bad = min(valid)
    decoded = tmp_path / "decoded.json"
    undecodable = [{"image": f"train/{bad}.png", "problem": "broken"}]
    decoded.write_text(json.dumps({"labelled": {"undecodable": undecodable}}))
    again = split_of(tmp_path, rows, StratifiedSplit(), decoded=decoded)
    assert set(again) == rows.keys() - {bad}
    assert len([i for i, name in again.items() if name == "valid"]) == len(valid)


@pytest.mark.parametrize("path", ["train/a/1.png", "train/x/a/1.png", "train/cafe\u0301.png"])
def test_undecodable_images_are_found_by_any_kind_of_id(tmp_path: Path, path: str) -> None:
    ids = {
        "train/a/1.png": "a/1",
        "train/x/a/1.png": "x/a/1.png",
        "train/cafe\u0301.png": "caf\u00e9",
    }
    rows = {ids[path]: "a", "2": "a", "3": "b", "4": "b", "5": "a"}
    decoded = tmp_path / "decoded.json"
    undecodable = [{"image": path, "problem": "broken"}]
    decoded.write_text(json.dumps({"labelled": {"undecodable": undecodable}}))
    assert set(split_of(tmp_path, rows, StratifiedSplit(), decoded=decoded)) == set("2345")


def test_split_without_validation_images_is_refused(tmp_path: Path) -> None:
    with refused("labels.csv", "no image is left to validate with", "two images"):
        split_of(tmp_path, {"1": "a", "2": "b"}, StratifiedSplit())


def test_a_class_with_a_bar_in_its_name_gives_its_own_share(tmp_path: Path) -> None:
    labels, split = tmp_path / "labels.csv", tmp_path / "split.csv"
    names = ["a", "b", *(["a|b"] * 2)] * 5
    write_csv(labels, ("id", "label"), [(str(n), name) for n, name in enumerate(names)])
    for rule in (StratifiedSplit(), BookSplit()):
        write_split(labels, split, 0.2, 0, rule, several_labels=False)
        valid = [line.split(",")[1] for line in split.read_text().splitlines() if "valid" in line]
        assert Counter(valid) == {"a": 1, "b": 1, "a|b": 2 if rule.name == "stratified" else 1}


def test_book_rule_does_not_know_several_labels(tmp_path: Path) -> None:
    labels = tmp_path / "labels.csv"
    write_csv(labels, ("id", "label"), [("1", "a|b"), ("2", "a"), ("3", "b")])
    with refused("several labels", "set split to stratified"):
        write_split(labels, tmp_path / "split.csv", 0.1, 0)


@pytest.mark.parametrize("rule", [None, StratifiedSplit()])
def test_a_bar_in_a_single_label_separates_nothing(tmp_path: Path, rule: Split | None) -> None:
    labels = ["a"] * 9 + ["b"] * 9 + (["a|b"] * 2 if rule is None else ["a|b"])
    write_csv(tmp_path / "labels.csv", ("id", "label"), enumerate(labels))
    for seed in range(20):
        write_split(
            tmp_path / "labels.csv", tmp_path / "split.csv", 0.5, seed, rule, several_labels=False
        )
        rows = (tmp_path / "split.csv").read_text().splitlines()
        assert any(row.endswith(",a|b,train") for row in rows)
