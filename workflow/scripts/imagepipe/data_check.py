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

from imagepipe.channels import ChannelFigures, measure_channels
from imagepipe.data_report import TITLE, attention, report_blocks
from imagepipe.documents import printable, to_html, to_markdown
from imagepipe.duplicates import SPLITS, Duplicates, read_duplicates
from imagepipe.files import read_rows, text_of_field, write_text
from imagepipe.packed_chunks import PackedFile
from imagepipe.packed_images import PackedImages, read_classes, read_packed

logger = logging.getLogger(__name__)

FEW_IMAGES = 10  # with the usual tenth held out, one of them validates the class
# A tenth of a usual deviation: less hardly changes what a network sees. The means of five times
# 1,000 images of CIFAR-10 were within 0.008 of those of all 50,000.
CHANNEL_TOLERANCE = 0.02


@dataclass(frozen=True)
class Inputs:
    """What is looked at: the folder of the packed arrays, and what other stages have found.

    `packed` holds decoded.json beside the arrays and their tables. `duplicates` is written by
    `duplicates.write_duplicates`, `classes` and `unmatched` by `labels.write_labels`.
    """

    packed: Path
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
    test = PackedFile.of_table(inputs.packed / "test.csv")
    decoded = json.loads((inputs.packed / "decoded.json").read_text(encoding="utf-8"))
    classes = read_classes(inputs.classes)
    counts = count_classes(labelled, classes)
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
        "duplicates": describe_duplicates(read_duplicates(inputs.duplicates), labelled),
    }
    found = [{"finding": finding, "message": message} for finding, message in attention(report)]
    return {"attention": found} | report


def count_classes(labelled: PackedImages, classes: Sequence[str]) -> list[dict[str, Any]]:
    """Return the numbers of images in train and in valid of each class."""
    counts = Counter(zip(labelled.table["label"], labelled.table["split"], strict=True))
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


def describe_duplicates(groups: Sequence[Duplicates], labelled: PackedImages) -> dict[str, Any]:
    """Return how many equal images there are in each pair of splits, and which they are."""
    in_groups = {image_id for group in groups for image_id in group.labelled}
    ids_and_labels = zip(labelled.table["id"], labelled.table["label"], strict=True)
    label_of = {image_id: label for image_id, label in ids_and_labels if image_id in in_groups}
    different_labels = []
    for group in groups:
        ids: dict[str, list[str]] = defaultdict(list)
        for image_id in group.labelled:
            ids[label_of[image_id]].append(image_id)
        if len(ids) > 1:
            different_labels.append({label: ids[label] for label in sorted(ids)})
    return {
        "groups": len(groups),
        "images": sum(len(group.ids(split)) for group in groups for split in SPLITS),
        "pairs": [count_pair(groups, *pair) for pair in combinations_with_replacement(SPLITS, 2)],
        "labelled_images_in_test": sum(len(g.labelled) for g in groups if g.cross_into_test),
        "different_labels": different_labels,
        "all": [asdict(group) for group in groups],
    }


def count_pair(groups: Sequence[Duplicates], first: str, second: str) -> dict[str, Any]:
    """Count the groups that have images in both splits (more than one, in the same), and those."""
    if first == second:
        numbers = [len(group.ids(first)) for group in groups]
        found = [number for number in numbers if number > 1]
    else:
        pairs = [(len(group.ids(first)), len(group.ids(second))) for group in groups]
        found = [sum(pair) for pair in pairs if all(pair)]
    return {"splits": [first, second], "groups": len(found), "images": sum(found)}
