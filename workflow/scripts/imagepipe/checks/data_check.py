"""A look at the data before training: what is there, and what needs attention."""

import json
import logging
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from itertools import combinations_with_replacement
from pathlib import Path
from typing import Any

import numpy as np

from imagepipe.checks.channels import measure_channels
from imagepipe.checks.class_balance import draw_class_balance
from imagepipe.checks.data_report import ALL_SPLITS, Report, attention, render
from imagepipe.checks.duplicates import Duplicates, read_duplicates
from imagepipe.dataset.channels import read_channels
from imagepipe.dataset.manifests import CLASS_SEPARATOR
from imagepipe.dataset.packed import PackedFile, PackedImages, read_classes, read_packed, read_split
from imagepipe.display.escaping import printable
from imagepipe.files import read_rows, text_of_field, write_text

logger = logging.getLogger(__name__)

FEW_IMAGES = 10  # with the usual tenth held out, one of them validates the class
# A tenth of a usual std: less hardly changes what a network sees. The means of five samples of
# 1,000 images of CIFAR-10 were within 0.008 of those of all 50,000.
CHANNEL_TOLERANCE = 0.02
# Half of 50 right answers have a standard error of 7 points: too much to tell recipes apart.
FEW_VALID = 50
FEW_VALID_OF_CLASS = 5
# With ten times as many images, a class that is never predicted costs a tenth of the accuracy.
UNEQUAL = 10
NUMBER = re.compile(r"[+-]?([0-9]+([.][0-9]*)?|[.][0-9]+)")


@dataclass(frozen=True)
class DataFiles:
    """The files that the report is about, as the stages before have written them.

    `packed` is the folder of the packed arrays, their tables, decoded.json and channels.json.
    """

    packed: Path
    split: Path
    duplicates: Path
    classes: Path
    unmatched: Path


def check_data(
    files: DataFiles,
    report_json: Path,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
    *,
    several_labels: bool = False,
) -> None:
    """Write the report as `report_json`, and as .md and .html beside it; log what needs attention.

    The figure of the class balance is written to the folder `figures` beside them, as SVG and PNG.
    `mean` and `std` are the dataset file's, of the channels; None has none to compare. With
    `several_labels`, an image may have any number of classes. Raises `UserError` if an array does
    not belong to its table.
    """
    report = make_report(files, mean, std, several_labels=several_labels)
    write_text(report_json, json.dumps(report, ensure_ascii=False, indent=1) + "\n")
    class_balance = report_json.parent / "figures" / "class_balance.svg"
    draw_class_balance(report, class_balance)
    for ending in ("md", "html"):
        text = render(report, ending, report_json.name, class_balance)
        write_text(report_json.with_suffix(f".{ending}"), text)
    for item in report["attention"]:
        message = printable(item["message"])
        logger.warning("%s (see %s)", message, report_json.with_suffix(".md"))
    if not report["attention"]:
        logger.info("nothing needs attention")


def make_report(
    files: DataFiles,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
    *,
    several_labels: bool = False,
) -> Report:
    """Return the report as in report.json; `attention` is the first to read."""
    labelled = read_packed(files.packed / "labelled.npy", files.packed / "labelled.csv")
    test = PackedFile.from_table(files.packed / "test.csv")
    decoded = json.loads((files.packed / "decoded.json").read_text(encoding="utf-8"))
    names = read_classes(files.classes)
    splits = read_split(files.split, labelled.ids)
    counts: Counter[tuple[str, str]] = Counter()
    unlabelled = 0
    for label, split in zip(labelled.labels, splits, strict=True):
        own = [name for name in label.split(CLASS_SEPARATOR) if name] if several_labels else [label]
        unlabelled += not own
        counts.update((name, split) for name in own)
    classes = [(name, counts[name, "train"], counts[name, "valid"]) for name in names]
    small = [name for name, train, valid in classes if train + valid < FEW_IMAGES]
    unmatched = read_rows(files.unmatched, ("id", "problem"))
    report = {
        "images": {
            "train": splits.count("train"),
            "valid": splits.count("valid"),
            "test": len(test),
        },
        "size": {"height": labelled.images.shape[1], "width": labelled.images.shape[2]},
        "several_labels": several_labels,
        "unlabelled": unlabelled,
        "classes": [dict(zip(("class", "train", "valid"), row, strict=True)) for row in classes],
        "small_classes": {"fewer_than": FEW_IMAGES, "classes": small},
        "small_validation": small_validation(classes, splits.count("valid")),
        "unequal_classes": unequal_classes(classes),
        "similar_labels": similar_labels(names),
        "unmatched": [
            {"id": text_of_field(image_id), "problem": problem}
            for _, (image_id, problem) in unmatched
        ],
        "formats": {name: decoded[name]["formats"] for name in ("labelled", "test")},
        **{
            found: decoded["labelled"][found] + decoded["test"][found]
            for found in ("undecodable", "salvaged")
        },
        "channels": describe_channels(files.packed, mean, std),
        "duplicates": describe_duplicates(read_duplicates(files.duplicates), labelled, splits),
    }
    found = [{"finding": name, "message": words} for name, words in attention(report).items()]
    return {"attention": found} | report


def small_validation(classes: Sequence[tuple[str, int, int]], valid: int) -> dict[str, Any]:
    """Return which classes have too few validation images, of (class, train, valid).

    `standard_error` is the largest that an accuracy on `valid` images can have, that of one half.
    Classes of fewer than `FEW_IMAGES` are left out: they are named as small already.
    """
    few = [name for name, train, n in classes if train + n >= FEW_IMAGES and n < FEW_VALID_OF_CLASS]
    return {
        "fewer_than": FEW_VALID,
        "is_small": valid < FEW_VALID,
        "fewer_of_class_than": FEW_VALID_OF_CLASS,
        "classes": few,
        "standard_error": round(0.5 / valid**0.5, 4) if valid else None,
    }


def unequal_classes(classes: Sequence[tuple[str, int, int]]) -> dict[str, Any] | None:
    """Return the largest and the smallest class, if they differ by a factor of `UNEQUAL`."""
    sizes = {name: train + valid for name, train, valid in classes if train + valid}
    if not sizes or max(sizes.values()) < UNEQUAL * min(sizes.values()):
        return None
    largest, smallest = max(sizes, key=sizes.__getitem__), min(sizes, key=sizes.__getitem__)
    return {
        "largest": {"class": largest, "images": sizes[largest]},
        "smallest": {"class": smallest, "images": sizes[smallest]},
    }


def similar_labels(classes: Iterable[str]) -> list[list[str]]:
    """Return groups of labels that differ only in case, spaces, the form of Unicode or of a number.

    1, 01 and 1.0 are the same number.
    """
    groups: dict[str | Decimal, list[str]] = defaultdict(list)
    for name in classes:
        folded = unicodedata.normalize("NFKC", name).casefold()
        # Folding may give a text that is not in this form.
        text = "".join(unicodedata.normalize("NFKC", folded).split())
        groups[Decimal(text) if NUMBER.fullmatch(text) else text].append(name)
    return [names for names in groups.values() if len(names) > 1]


def describe_channels(
    packed: Path, mean: Sequence[float] | None, std: Sequence[float] | None
) -> dict[str, Any]:
    """Return the measured statistics, the dataset file's, and which of those are wrong.

    The dataset file may have either kind of std (see `ChannelStatistics`), or none: then the
    statistics are those that `pack` has measured.
    """
    description: dict[str, Any] = {"tolerance": CHANNEL_TOLERANCE}
    if mean is None or std is None:
        measured = asdict(read_channels(packed / "channels.json"))
        return description | {"measured": measured, "dataset_file": None, "beyond_tolerance": []}
    statistics = measure_channels(packed / "labelled.npy")
    is_wrong = {
        "mean": differs(statistics.mean, mean),
        "std": differs(statistics.std, std) and differs(statistics.image_std, std),
    }
    return description | {
        "measured": asdict(statistics),
        "dataset_file": {"mean": list(mean), "std": list(std)},
        "beyond_tolerance": [kind for kind in is_wrong if is_wrong[kind]],
    }


def differs(measured: Sequence[float], given: Sequence[float]) -> bool:
    """Return whether a channel's values differ by more than `CHANNEL_TOLERANCE`."""
    return bool((np.abs(np.subtract(measured, given)).round(4) > CHANNEL_TOLERANCE).any())


def describe_duplicates(
    groups: Sequence[Duplicates], labelled: PackedImages, splits: Sequence[str]
) -> dict[str, Any]:
    """Return the numbers of equal images in each pair of splits, and their ids.

    `splits` are those of the labelled images, in their order.
    """
    rows = zip(labelled.labels, splits, strict=True)
    known = dict(zip(labelled.ids, rows, strict=True))
    different_labels = []
    ids_by_split: list[dict[str, list[str]]] = []
    for group in groups:
        by_label: dict[str, list[str]] = defaultdict(list)
        by_split: dict[str, list[str]] = {"train": [], "valid": [], "test": group.test}
        for image_id in group.labelled:
            label, split = known[image_id]
            by_label[label].append(image_id)
            by_split[split].append(image_id)
        ids_by_split.append(by_split)
        if len(by_label) > 1:
            different_labels.append(dict(sorted(by_label.items())))
    pairs = []
    for first, second in combinations_with_replacement(ALL_SPLITS, 2):
        sizes = [(len(group[first]), len(group[second])) for group in ids_by_split]
        if first == second:
            found = [size for size, _ in sizes if size > 1]
        else:
            found = [sum(both) for both in sizes if all(both)]
        pairs.append({"splits": [first, second], "groups": len(found), "images": sum(found)})
    return {
        "groups": len(groups),
        "images": sum(len(group.labelled) + len(group.test) for group in groups),
        "pairs": pairs,
        "labelled_images_in_test": sum(len(g.labelled) for g in groups if g.cross_into_test),
        "different_labels": different_labels,
        "all": ids_by_split,
    }
