"""The look at the data: what is found, what is not, and what is said about it."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from builders import make_packed, write_csv
from imagepipe.checks import data_check
from imagepipe.checks.data_check import DataFiles, check_data, similar_labels
from imagepipe.checks.duplicates import write_duplicates
from imagepipe.dataset import packed

Row = tuple[str, str, str, int]

LIMITS = {name: getattr(data_check, name) for name in ("FEW_VALID", "FEW_VALID_OF_CLASS")}
# Of noise.
SUITING = {"mean": [0.5, 0.5, 0.5], "std": [0.29, 0.29, 0.29]}


@pytest.fixture(autouse=True)
def few_images_suffice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Most of these tests are not about the size of the validation set."""
    monkeypatch.setattr(data_check, "FEW_VALID", 0)
    monkeypatch.setattr(data_check, "FEW_VALID_OF_CLASS", 0)


@pytest.fixture
def true_limits(few_images_suffice: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in LIMITS.items():
        monkeypatch.setattr(data_check, name, value)


def clean_rows() -> list[Row]:
    """Return 20 labelled images of two classes, and 5 test images, all different."""
    rows = [
        (str(n), "cat" if n % 2 else "dog", "train" if n <= 16 else "valid", n)
        for n in range(1, 21)
    ]
    return rows + [(str(n), "unknown", "test", 100 + n) for n in range(1, 6)]


def look(
    folder: Path,
    rows: list[Row],
    spoil: Callable[[Path], object] = lambda folder: None,
    **options: Any,
) -> tuple[dict[str, Any], str]:
    """Write and check data, and return the report and its Markdown."""
    make_packed(folder, rows)
    write_duplicates(folder / "packed", folder / "duplicates.json")
    spoil(folder)
    files = DataFiles(
        packed=folder / "packed",
        split=folder / "split.csv",
        duplicates=folder / "duplicates.json",
        classes=folder / "classes.txt",
        unmatched=folder / "unmatched.csv",
    )
    check_data(files, folder / "report.json", **SUITING | options)
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    return report, (folder / "report.md").read_text(encoding="utf-8")


def findings(report: dict[str, Any]) -> set[str]:
    return {item["finding"] for item in report["attention"]}


def with_seed(rows: list[Row], **seeds: int) -> list[Row]:
    """Return the rows with other pixels for some, named by split and id: train_3=1."""
    return [(i, label, s, seeds.get(f"{s}_{i}", seed)) for i, label, s, seed in rows]


def test_good_data_needs_no_attention(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    report, text = look(tmp_path, clean_rows())
    assert report["attention"] == []
    assert report["images"] == {"train": 16, "valid": 4, "test": 5}
    assert report["classes"] == [
        {"class": "cat", "train": 8, "valid": 2},
        {"class": "dog", "train": 8, "valid": 2},
    ]
    assert report["formats"] == {
        "labelled": {"PNG RGB 32×32": 20},
        "test": {"PNG RGB 32×32": 5},
    }
    assert report["duplicates"]["groups"] == 0
    assert text.startswith("# The data before training\n\n**Nothing needs attention.**\n")
    assert "| cat | 8 | 2 | 10 |" in text
    assert "| all | 16 | 4 | 20 |" in text
    assert "The test set has 5 images." in text
    assert "No two images are the same" in text
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def note(**changes: Any) -> Callable[[Path], object]:
    """Return a function that changes what decoded.json says of the labelled images."""

    def spoil(folder: Path) -> None:
        path = folder / "packed/decoded.json"
        decoded = json.loads(path.read_text())
        decoded["labelled"] |= changes
        path.write_text(json.dumps(decoded))

    return spoil


UNDECODABLE = {"image": "train/7.png", "problem": "is not a readable PNG or JPEG image (cut)"}
# finding: (the rows, what else is changed, the dataset file's figures, what the Markdown says)
CASES: dict[str, tuple[list[Row], Callable[[Path], object], dict[str, Any], tuple[str, ...]]] = {
    "labelled_images_in_test": (
        with_seed(clean_rows(), test_3=7, test_4=17),
        lambda folder: None,
        {},
        ("2 labelled images are in the test set", "| 7 |  | 3 |", "|  | 17 | 4 |"),
    ),
    "in_train_and_valid": (
        with_seed(clean_rows(), valid_17=3),
        lambda folder: None,
        {},
        ("2 images of train and valid", "| 3 | 17 |  |", "| between train and valid | 1 | 2 |"),
    ),
    "different_labels": (
        with_seed(clean_rows(), train_4=3),
        lambda folder: None,
        {},
        ("1 group of equal images", "different labels", "cat: 3; dog: 4"),
    ),
    "repeated": (
        with_seed(clean_rows(), train_5=1, train_3=1),
        lambda folder: None,
        {},
        ("3 images within train", "| 1, 3, 5 |  |  |", "| within train | 1 | 3 |"),
    ),
    "undecodable": (
        clean_rows(),
        note(undecodable=[UNDECODABLE]),
        {},
        ("1 image that could not be decoded", "| train/7.png | is not a readable"),
    ),
    "salvaged": (
        clean_rows(),
        note(salvaged=[{"image": "train/9.jpg", "problem": "is not wholly readable (cut)"}]),
        {},
        ("1 image is damaged", "| train/9.jpg | is not wholly readable"),
    ),
    "unequal_classes": (
        clean_rows() + [(str(n), "dog", "train", 200 + n) for n in range(31, 121)],
        lambda folder: None,
        {},
        ("'dog' has 100 images, the class 'cat' 10", "loss.class", "sampling"),
    ),
    "unmatched": (
        clean_rows(),
        lambda folder: write_csv(
            folder / "unmatched.csv", ("id", "problem"), [("77", "no image"), ("8|9", "no label")]
        ),
        {},
        ("2 ids without image or without label", "| 77 | no image |", "| 8\\|9 | no label |"),
    ),
    "similar_labels": (
        clean_rows() + [(str(n), "Dog", "train", n) for n in range(31, 41)],
        lambda folder: None,
        {},
        ("'Dog' and 'dog'", "only in case, spaces or the way"),
    ),
    "small_classes": (
        [row for row in clean_rows() if row[0] != "1"],
        lambda folder: None,
        {},
        ("1 class has fewer than 10 images: cat",),
    ),
    "channel_mean": (
        clean_rows(),
        lambda folder: None,
        {"mean": [0.5, 0.47, 0.5]},
        ("mean (0.5, 0.47, 0.5)",),
    ),
    "channel_std": (
        clean_rows(),
        lambda folder: None,
        {"std": [0.29, 0.29, 0.25]},
        ("std (0.29, 0.29, 0.25)",),
    ),
}
# What else such data cannot but have.
BESIDES = {"different_labels": {"repeated"}}


@pytest.mark.parametrize("finding", CASES)
def test_what_needs_attention_is_said_and_logged_in_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, finding: str
) -> None:
    rows, spoil, options, words = CASES[finding]
    report, text = look(tmp_path, rows, spoil, **options)
    assert findings(report) == {finding} | BESIDES.get(finding, set())
    verdict = text.partition("## Images")[0]
    assert "attention:**" in verdict
    assert words[0] in verdict
    for word in words:
        assert word in text
    lines = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert len(lines) == len(report["attention"])
    assert all(len(line.splitlines()) == 1 and "report.md" in line for line in lines)


def test_equal_test_images_are_counted_and_need_no_attention(tmp_path: Path) -> None:
    report, text = look(tmp_path, with_seed(clean_rows(), test_2=103))
    assert report["attention"] == []
    assert report["duplicates"]["all"] == [{"train": [], "valid": [], "test": ["2", "3"]}]
    assert "| within test | 1 | 2 |" in text


def test_groups_are_counted_for_each_pair_of_splits(tmp_path: Path) -> None:
    rows = with_seed(clean_rows(), train_3=1, valid_17=1, valid_19=1, test_1=1, test_2=9)
    duplicates = look(tmp_path, rows)[0]["duplicates"]
    assert duplicates["groups"] == 2
    assert duplicates["images"] == 7
    assert duplicates["labelled_images_in_test"] == 5
    assert {tuple(p["splits"]): (p["groups"], p["images"]) for p in duplicates["pairs"]} == {
        ("train", "train"): (1, 2),
        ("train", "valid"): (1, 4),
        ("train", "test"): (2, 5),
        ("valid", "valid"): (1, 2),
        ("valid", "test"): (1, 3),
        ("test", "test"): (0, 0),
    }


def test_long_lists_are_cut_in_the_markdown_and_whole_in_the_json(tmp_path: Path) -> None:
    rows = [(str(n), "cat", "train", n // 2) for n in range(60)]
    rows += [(str(n), "dog", "train", 99) for n in range(60, 75)]
    report, text = look(tmp_path, rows)
    assert len(report["duplicates"]["all"]) == 31
    assert len(report["duplicates"]["all"][-1]["train"]) == 15
    assert "| 38, 39 |  |  |\n\n… and 11 more; all are in report.json." in text
    assert "| 40, 41 |" not in text
    rows = [(str(n), "cat", "train", 1) for n in range(15)]
    assert "| 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 5 more |" in look(tmp_path, rows)[1]


@pytest.mark.parametrize(
    ("labels", "groups"),
    [
        (["cat", "dog"], []),
        (["Cat", "cat"], [["Cat", "cat"]]),
        (["fire truck", "firetruck", "fire  truck"], [["fire truck", "firetruck", "fire  truck"]]),
        (["ＣＡＴ", "cat"], [["ＣＡＴ", "cat"]]),
        (["straße", "STRASSE"], [["straße", "STRASSE"]]),
        (["e\u0301t\u00e9", "\u00e9te\u0301"], [["e\u0301t\u00e9", "\u00e9te\u0301"]]),
        (["a\u00a0b", "a b", "ab c"], [["a\u00a0b", "a b"]]),
        (["cat1", "cat2", "cat-1"], []),
        (["1", "1.0", "01", "10", "+1", "-1", "1e0"], [["1", "1.0", "01", "+1"]]),
        (["0.5", ".50", "5"], [["0.5", ".50"]]),
        (["1.1", "1.1.0", "v1", "v01"], []),
    ],
)
def test_labels_that_differ_only_in_case_or_spaces_or_the_form_of_a_number(
    labels: list[str], groups: list[list[str]]
) -> None:
    assert similar_labels(labels) == groups


@pytest.mark.parametrize(("given", "differs"), [(0.52, False), (0.5201, True), (0.4799, True)])
def test_a_difference_of_two_hundredths_is_let_pass(given: float, differs: bool) -> None:
    assert data_check.differs([0.5, 0.5, 0.5], [0.5, given, 0.5]) == differs


def test_either_kind_of_std_suits(tmp_path: Path) -> None:
    """As that of CIFAR-10 in the book is the mean of the images' own."""

    def darken_half(folder: Path) -> None:
        images = np.load(folder / "packed/labelled.npy")
        images[::2] //= 4
        np.save(folder / "packed/labelled.npy", images)

    mean = {"mean": [0.311] * 3}
    measured = look(tmp_path, clean_rows(), darken_half, **mean)[0]["channels"]["measured"]
    assert min(measured["std"]) - max(measured["image_std"]) > 0.05
    for kind in ("std", "image_std"):
        options = mean | {"std": measured[kind]}
        assert findings(look(tmp_path, clean_rows(), darken_half, **options)[0]) == set()
    options = mean | {"std": [value + 0.03 for value in measured["std"]]}
    report = look(tmp_path, clean_rows(), darken_half, **options)[0]
    assert findings(report) == {"channel_std"}


def test_a_class_without_any_image_is_named(tmp_path: Path) -> None:
    report, text = look(
        tmp_path,
        clean_rows(),
        lambda folder: (folder / "classes.txt").write_text("cat\ndog\newe\n"),
    )
    assert findings(report) == {"small_classes"}
    assert "| ewe | 0 | 0 | 0 |" in text


def test_odd_names_are_shown_as_they_are_and_break_no_table(tmp_path: Path) -> None:
    odd = "<img src=x onerror=alert(1)> | `rm` [a](b)"
    rows = [(odd if n == "1" else n, label, s, seed) for n, label, s, seed in clean_rows()]
    rows = with_seed(rows, train_3=1)
    report, text = look(
        tmp_path, rows, note(undecodable=[{"image": "train/\n# 7.png", "problem": "| x\u202e"}])
    )
    assert report["duplicates"]["all"][0]["train"] == [odd, "3"]
    assert "| &lt;img src=x onerror=alert(1)&gt; \\| \\`rm\\` \\[a\\](b), 3 |  |  |" in text
    assert "| train/\\\\n\\# 7.png | \\| x\\\\u202e |" in text
    page = (tmp_path / "report.html").read_text()
    assert "<img" not in page
    assert "&lt;img src=x onerror=alert(1)&gt; | `rm` [a](b), 3" in page


def test_the_same_data_gives_the_same_bytes_in_chunks_of_any_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = with_seed(clean_rows(), test_3=7, train_5=1, valid_19=1)
    look(tmp_path / "a", rows)
    monkeypatch.setattr(packed, "CHUNK_BYTES", 7000)
    look(tmp_path / "b", rows)
    for name in ("report.json", "report.md", "report.html", "duplicates.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def rows_of(**counts: tuple[int, int]) -> list[Row]:
    """Return different images of classes, of each so many for train and for valid."""
    rows: list[Row] = []
    for label, (train, valid) in counts.items():
        for split, number in (("train", train), ("valid", valid)):
            for _ in range(number):
                rows.append((str(len(rows)), label, split, len(rows)))
    return rows


@pytest.mark.usefixtures("true_limits")
@pytest.mark.parametrize(
    ("counts", "found", "words"),
    [
        ({"cat": (50, 25), "dog": (50, 25)}, set(), []),
        ({"cat": (50, 25), "dog": (50, 24)}, {"small_validation"}, ["49 images", "7 points"]),
        ({"cat": (300, 1), "dog": (60, 1)}, {"small_validation"}, ["2 images", "35 points"]),
        (
            {"cat": (90, 50), "dog": (50, 4)},
            {"small_validation_classes"},
            ["1 class has fewer than 5", "dog"],
        ),
        # A class that is named as small is not named again.
        ({"cat": (40, 50), "dog": (8, 1)}, {"small_classes", "unequal_classes"}, ["cat", "90"]),
    ],
)
def test_a_validation_set_that_says_little_needs_attention(
    tmp_path: Path, counts: dict[str, tuple[int, int]], found: set[str], words: list[str]
) -> None:
    report, text = look(tmp_path, rows_of(**counts))
    assert findings(report) == found
    for word in words:
        assert word in text.partition("## Images")[0]


def test_an_image_with_several_labels_counts_in_each_of_its_classes(tmp_path: Path) -> None:
    rows = [
        (i, ("cat|dog", "dog", "", "cat")[int(i) % 4] if s != "test" else label, s, seed)
        for i, label, s, seed in clean_rows()
    ]
    report, text = look(
        tmp_path,
        rows,
        lambda folder: (folder / "classes.txt").write_text("cat\ndog\n"),
        several_labels=True,
    )
    assert report["attention"] == []
    assert report["classes"] == [
        {"class": "cat", "train": 8, "valid": 2},
        {"class": "dog", "train": 8, "valid": 2},
    ]
    assert report["unlabelled"] == 5
    assert "5 images have none" in text
    assert "| all | 16 | 4 | 20 |" in text


def test_without_figures_in_the_dataset_file_the_measured_ones_are_shown(tmp_path: Path) -> None:
    channels = {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}
    report, text = look(
        tmp_path,
        clean_rows(),
        lambda folder: (folder / "packed/channels.json").write_text(json.dumps(channels)),
        mean=None,
        std=None,
    )
    assert report["attention"] == []
    assert report["channels"]["measured"] == channels
    assert "| mean | measured | 0.1000 | 0.2000 | 0.3000 |" in text
    assert "as the dataset file has none" in text
    assert "| dataset file |" not in text


def test_the_most_frequent_of_many_formats_are_shown(tmp_path: Path) -> None:
    formats = {f"JPEG RGB {n}×9": n for n in range(1, 31)}
    report, text = look(tmp_path, clean_rows(), note(formats=formats))
    assert report["formats"]["labelled"] == formats
    assert "| JPEG RGB 30×9 | 30 | 0 |\n| JPEG RGB 29×9 | 29 | 0 |" in text
    assert "| JPEG RGB 5×9 |" not in text
    assert "… and 11 more; all are in report.json." in text


def test_images_need_not_be_square(tmp_path: Path) -> None:
    def cut(folder: Path) -> None:
        for name in ("labelled", "test"):
            path = folder / f"packed/{name}.npy"
            np.save(path, np.load(path)[:, :24])

    report, text = look(tmp_path, clean_rows(), cut)
    assert report["attention"] == []
    assert report["size"] == {"height": 24, "width": 32}
    assert "a height of 24 and a width of 32 pixels" in text
