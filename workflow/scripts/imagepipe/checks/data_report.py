"""The report about the data: the findings that need attention, and its text for people."""

import html
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

# As in report.json.
Report = dict[str, Any]

TITLE = "The data before training"
ALL_SPLITS = ("train", "valid", "test")
IDS_LISTED = 10
LONGEST_TEXT = 300
# An underscore inside a word means nothing in Markdown, and a colon only in an address.
MARKDOWN_SIGNS = re.compile(r"[\\`*\[\]{}|~#$!@]|:(?=//)|(?<![^\W_])_|_(?![^\W_])")


def attention(report: Report) -> Iterator[tuple[str, str]]:
    """Yield (finding, message) for each thing that needs attention, the most serious first."""
    duplicates = report["duplicates"]
    images_in = {tuple(pair["splits"]): pair["images"] for pair in duplicates["pairs"]}
    if number := duplicates["labelled_images_in_test"]:
        yield (
            "labelled_images_in_test",
            f"{counted(number, 'labelled image is', 'labelled images are')} in the test set, too, "
            "pixel for pixel; no training starts unless allow_test_images_in_training is set",
        )
    if number := len(duplicates["different_labels"]):
        yield (
            "different_labels",
            f"{counted(number, 'group of equal images has', 'groups of equal images have')} "
            "different labels; correct them in the labels file",
        )
    if number := images_in["train", "valid"]:
        yield (
            "in_train_and_valid",
            f"{number:,} images of train and valid are the same, pixel for pixel; the accuracy on "
            "valid will be too high",
        )
    if number := images_in["train", "train"] + images_in["valid", "valid"]:
        yield (
            "repeated",
            f"{number:,} images within train or within valid are the same, pixel for pixel; an "
            "image that is there twice counts twice",
        )
    if number := len(report["undecodable"]):
        images = counted(number, "image", "images")
        yield "undecodable", f"left out: {images} that could not be decoded"
    if number := len(report["unmatched"]):
        ids = counted(number, "id", "ids")
        yield "unmatched", f"left out: {ids} without image or without label"
    if similar := report["similar_labels"]:
        more = f" (and {len(similar) - 1:,} more such groups)" if len(similar) > 1 else ""
        yield (
            "similar_labels",
            f"the labels {' and '.join(map(repr, similar[0]))}{more} differ only in case or "
            "spaces, and count as different classes; correct them in the labels file",
        )
    small = report["small_classes"]
    if names := small["classes"]:
        yield (
            "small_classes",
            f"{counted(len(names), 'class has', 'classes have')} fewer than {small['fewer_than']} "
            f"images: {as_text(names)}",
        )
    channels = report["channels"]
    for kind in channels["beyond_tolerance"]:
        given, measured = (
            ", ".join(map(str, channels[source][kind])) for source in ("dataset_file", "measured")
        )
        yield (
            f"channel_{kind}",
            f"the dataset file's {kind} ({given}) is more than {channels['tolerance']} from the "
            f"measured one ({measured}); correct it",
        )


def table_rows(report: Report) -> dict[str, Any]:
    """Return the rows of the tables, and the items of a list, by their names in the template."""
    images, formats, channels = report["images"], report["formats"], report["channels"]
    duplicates = report["duplicates"]
    in_test, in_both = [], []
    every = [[group[split] for split in ALL_SPLITS] for group in duplicates["all"]]
    for train, valid, test in every:
        if test and (train or valid):
            in_test.append([train, valid, test])
        if train and valid:
            in_both.append([train, valid, test])
    classes = [[row["class"], row["train"], row["valid"]] for row in report["classes"]]
    classes.append(["all", images["train"], images["valid"]])
    measured, given = channels["measured"], channels["dataset_file"]
    return {
        "classes": [[*row, row[1] + row[2]] for row in classes],
        "similar_labels": [" and ".join(map(repr, names)) for names in report["similar_labels"]],
        "unmatched": [[row["id"], row["problem"]] for row in report["unmatched"]],
        "formats": [
            [name, formats["labelled"].get(name, 0), formats["test"].get(name, 0)]
            for name in sorted({*formats["labelled"], *formats["test"]})
        ],
        "undecodable": [[row["image"], row["problem"]] for row in report["undecodable"]],
        "channels": [
            ["mean", "measured", *measured["mean"]],
            ["", "dataset file", *given["mean"]],
            ["std", "measured, of all pixels", *measured["std"]],
            ["", "measured, mean of the images' own", *measured["image_std"]],
            ["", "dataset file", *given["std"]],
        ],
        "pairs": [
            [
                f"within {first}" if first == second else f"between {first} and {second}",
                pair["groups"],
                pair["images"],
            ]
            for pair in duplicates["pairs"]
            for first, second in [pair["splits"]]
        ],
        "groups": [
            ("Labelled images that are also in the test set", ALL_SPLITS, in_test),
            ("Images that are in train and in valid", ALL_SPLITS, in_both),
            (
                "The same image with different labels",
                ["labels and ids"],
                [[group] for group in duplicates["different_labels"]],
            ),
            ("All groups", ALL_SPLITS, every),
        ],
    }


def render(report: Report, ending: str, json_name: str) -> str:
    """Return the report as Markdown (`ending` "md") or as an HTML page ("html").

    Every text is escaped, as it may come from outside. The text refers to the file `json_name`
    where it leaves something out.
    """
    is_page = ending == "html"
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=is_page,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["counted"] = counted
    environment.filters["shown"] = printable if is_page else escape_markdown
    template = environment.get_template(f"report.{ending}.j2")
    context = report | {"title": TITLE, "rows": table_rows(report), "json_name": json_name}
    return re.sub(r"\n{2,}", "\n" if is_page else "\n\n", template.render(context)).strip() + "\n"


def counted(number: int, one: str, several: str) -> str:
    """Return "1 image", or "2,000 images"."""
    return f"{number:,} {one if number == 1 else several}"


def as_text(value: object) -> str:
    """Return what stands in a cell for a value of the report."""
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4f}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        more = len(value) - IDS_LISTED
        return ", ".join(value[:IDS_LISTED]) + (f" and {more:,} more" if more > 0 else "")
    if isinstance(value, dict):
        return "; ".join(f"{label}: {as_text(ids)}" for label, ids in value.items())
    return str(value)


def printable(value: object) -> str:
    """Return a value as text of one line, cut at `LONGEST_TEXT`, with escapes for control signs.

    Among them are line ends, and signs that change the direction of writing.
    """
    text = as_text(value)
    if len(text) > LONGEST_TEXT:
        text = text[:LONGEST_TEXT] + "…"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def escape_markdown(value: object) -> str:
    """Return Markdown, of one line, that shows a value as it is."""
    return MARKDOWN_SIGNS.sub(r"\\\g<0>", html.escape(printable(value), quote=False))
