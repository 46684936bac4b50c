"""A look at the data before training: what is there, and what needs attention."""

import json
import logging
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations_with_replacement
from pathlib import Path
from typing import Any

import numpy as np

from imagepipe.checks.channels import ChannelFigures, measure_channels
from imagepipe.checks.data_report import ALL_SPLITS, TITLE, attention, report_blocks
from imagepipe.checks.documents import printable, to_html, to_markdown
from imagepipe.checks.duplicates import Duplicates, read_duplicates
from imagepipe.dataset.packed import (
    PackedFile,
    PackedImages,
    read_classes,
    read_packed,
    read_split,
)
from imagepipe.files import read_rows, text_of_field, write_text

logger = logging.getLogger(__name__)

FEW_IMAGES = 10  # with the usual tenth held out, one of them validates the class
# A tenth of a usual deviation: less hardly changes what a network sees. The means of five times
# 1,000 images of CIFAR-10 were within 0.008 of those of all 50,000.
CHANNEL_TOLERANCE = 0.02


@dataclass(frozen=True)
class Inputs:
    """What is looked at: the folder of the packed arrays, and what other stages have found.

    `packed` holds decoded.json beside the arrays and their tables. `split` is written by
    `splitting.write_split`, `duplicates` by `duplicates.write_duplicates`, `classes` and
    `unmatched` by `labels.match_labels`.
    """

    packed: Path
    split: Path
    duplicates: Path
    classes: Path
    unmatched: Path


@dataclass(frozen=True)
class Outputs:
    """The same report for programs, as text, and for browsers."""

    json: Path
    markdown: Path
    html: Path


def check_data(inputs: Inputs, outputs: Outputs, options: dict[str, Any]) -> None:
    """Write the report, and log a warning for each thing that needs attention.

    `options` has the keys `channel_means` and `channel_deviations`, of the dataset file. Raises
    `UserError` if an array does not belong to its table.
    """
    report = look_at(inputs, options)
    write_text(outputs.json, json.dumps(report, ensure_ascii=False, indent=1) + "\n")
    blocks = report_blocks(report, outputs.json.name)
    write_text(outputs.markdown, to_markdown(blocks))
    write_text(outputs.html, to_html(TITLE, blocks))
    for item in report["attention"]:
        logger.warning("%s (see %s)", printable(item["message"]), outputs.markdown)
    if not report["attention"]:
        logger.info("nothing needs attention")


def look_at(inputs: Inputs, options: dict[str, Any]) -> dict[str, Any]:
    """Return the report, of values that JSON has; `attention` is what is to be read first."""
    labelled = read_packed(inputs.packed / "labelled.npy", inputs.packed / "labelled.csv")
    test = PackedFile.from_table(inputs.packed / "test.csv")
    decoded = json.loads((inputs.packed / "decoded.json").read_text(encoding="utf-8"))
    classes = read_classes(inputs.classes)
    splits = read_split(inputs.split, labelled.ids)
    counts = count_classes(labelled.labels, splits, classes)
    report = {
        "images": {
            "train": sum(row["train"] for row in counts),
            "valid": sum(row["valid"] for row in counts),
            "test": len(test),
        },
        "classes": counts,
        "small_classes": {
            "fewer_than": FEW_IMAGES,
            "classes": [c["class"] for c in counts if c["train"] + c["valid"] < FEW_IMAGES],
        },
        "similar_labels": similar_labels(classes),
        "unmatched": [
            {"id": text_of_field(image_id), "problem": problem}
            for _, (image_id, problem) in read_rows(inputs.unmatched, ("id", "problem"))
        ],
        "formats": {name: decoded[name]["formats"] for name in ("labelled", "test")},
        "undecodable": decoded["labelled"]["undecodable"] + decoded["test"]["undecodable"],
        "channels": compare_channels(measure_channels(inputs.packed / "labelled.npy"), options),
        "duplicates": describe_duplicates(read_duplicates(inputs.duplicates), labelled, splits),
    }
    found = [{"finding": finding, "message": message} for finding, message in attention(report)]
    return {"attention": found} | report


def count_classes(
    labels: Iterable[str], splits: Iterable[str], classes: Sequence[str]
) -> list[dict[str, Any]]:
    """Return the numbers of images in train and in valid of each class."""
    counts = Counter(zip(labels, splits, strict=True))
    return [
        {"class": name, "train": counts[name, "train"], "valid": counts[name, "valid"]}
        for name in classes
    ]


def similar_labels(classes: Iterable[str]) -> list[list[str]]:
    """Return groups of labels that differ only in case, spaces, or how Unicode writes them."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in classes:
        folded = unicodedata.normalize("NFKC", name).casefold()
        # Folding may give what NFKC writes in another way.
        groups["".join(unicodedata.normalize("NFKC", folded).split())].append(name)
    return [names for names in groups.values() if len(names) > 1]


def compare_channels(measured: ChannelFigures, options: dict[str, Any]) -> dict[str, Any]:
    """Return the measured figures, the dataset file's, and which of those do not suit the images.

    The dataset file may have deviations of either kind (see `ChannelFigures`).
    """
    means, deviations = options["channel_means"], options["channel_deviations"]
    unsuited = {
        "means": far_apart(measured.means, means),
        "deviations": far_apart(measured.deviations, deviations)
        and far_apart(measured.image_deviations, deviations),
    }
    return {
        "measured": asdict(measured),
        "dataset_file": {"means": means, "deviations": deviations},
        "tolerance": CHANNEL_TOLERANCE,
        "beyond_tolerance": [kind for kind, is_unsuited in unsuited.items() if is_unsuited],
    }


def far_apart(measured: Sequence[float], given: Sequence[float]) -> bool:
    """Say whether the figures of a channel differ by more than `CHANNEL_TOLERANCE`."""
    differences = np.abs(np.subtract(measured, given)).round(4)
    return bool((differences > CHANNEL_TOLERANCE).any())


def describe_duplicates(
    groups: Sequence[Duplicates], labelled: PackedImages, splits: Sequence[str]
) -> dict[str, Any]:
    """Return how many equal images there are in each pair of splits, and which they are.

    `splits` has that of each labelled image.
    """
    in_groups = {image_id for group in groups for image_id in group.labelled}
    rows = zip(labelled.ids, labelled.labels, splits, strict=True)
    known = {image_id: (label, split) for image_id, label, split in rows if image_id in in_groups}
    different_labels = []
    by_split: list[dict[str, list[str]]] = []
    for group in groups:
        ids_of: dict[str, list[str]] = defaultdict(list)
        ids_in: dict[str, list[str]] = {split: [] for split in ALL_SPLITS}
        for image_id in group.labelled:
            label, split = known[image_id]
            ids_of[label].append(image_id)
            ids_in[split].append(image_id)
        by_split.append(ids_in | {"test": group.test})
        if len(ids_of) > 1:
            different_labels.append({label: ids_of[label] for label in sorted(ids_of)})
    pairs = combinations_with_replacement(ALL_SPLITS, 2)
    return {
        "groups": len(groups),
        "images": sum(len(group.labelled) + len(group.test) for group in groups),
        "pairs": [count_pair(by_split, *pair) for pair in pairs],
        "labelled_images_in_test": sum(len(g.labelled) for g in groups if g.cross_into_test),
        "different_labels": different_labels,
        "all": by_split,
    }


def count_pair(groups: Sequence[dict[str, list[str]]], first: str, second: str) -> dict[str, Any]:
    """Count the groups that have images in both splits (more than one, in the same), and those."""
    if first == second:
        numbers = [len(group[first]) for group in groups]
        found = [number for number in numbers if number > 1]
    else:
        pairs = [(len(group[first]), len(group[second])) for group in groups]
        found = [sum(pair) for pair in pairs if all(pair)]
    return {"splits": [first, second], "groups": len(found), "images": sum(found)}
