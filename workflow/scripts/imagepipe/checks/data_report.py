"""What the look at the data says: the findings that need attention, and the report's text."""

from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from typing import Any

from imagepipe.checks.documents import Block, Bullets, Heading, Paragraph, Table

TITLE = "The data before training"
ALL_SPLITS = ("train", "valid", "test")
ROWS_LISTED = 20
IDS_LISTED = 10
EQUAL = "the same, pixel for pixel"


def attention(report: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield (finding, message) for each thing that needs attention, the gravest first."""
    duplicates = report["duplicates"]
    images_in = {tuple(pair["splits"]): pair["images"] for pair in duplicates["pairs"]}
    if number := duplicates["labelled_images_in_test"]:
        yield (
            "labelled_images_in_test",
            f"{count(number, 'labelled image is', 'labelled images are')} in the test set, too, "
            "pixel for pixel; no training starts unless allow_test_images_in_training is set",
        )
    if number := len(duplicates["different_labels"]):
        yield (
            "different_labels",
            f"{count(number, 'group of equal images has', 'groups of equal images have')} "
            "different labels; correct them in the labels file",
        )
    if number := images_in["train", "valid"]:
        yield (
            "in_train_and_valid",
            f"{number:,} images of train and valid are {EQUAL}; the accuracy on valid comes out "
            "too high",
        )
    if number := images_in["train", "train"] + images_in["valid", "valid"]:
        yield (
            "repeated",
            f"{number:,} images within train or within valid are {EQUAL}; one that comes twice "
            "counts twice",
        )
    if number := len(report["undecodable"]):
        yield (
            "undecodable",
            f"left out: {count(number, 'image', 'images')} that could not be decoded",
        )
    if number := len(report["unmatched"]):
        yield (
            "unmatched",
            f"left out: {count(number, 'id', 'ids')} without image or without label",
        )
    if similar := report["similar_labels"]:
        more = f" (and {len(similar) - 1:,} more such groups)" if len(similar) > 1 else ""
        yield (
            "similar_labels",
            f"the labels {' and '.join(map(repr, similar[0]))}{more} differ only in case or "
            "spaces, and are taken for different classes; correct them in the labels file",
        )
    small = report["small_classes"]
    if names := small["classes"]:
        yield (
            "small_classes",
            f"{count(len(names), 'class has', 'classes have')} fewer than {small['fewer_than']} "
            f"images: {shortened(names)}",
        )
    channels = report["channels"]
    for kind in channels["beyond_tolerance"]:
        given, measured = (
            ", ".join(map(str, channels[source][kind])) for source in ("dataset_file", "measured")
        )
        yield (
            f"channel_{kind}",
            f"the dataset file's channel_{kind} ({given}) are more than {channels['tolerance']} "
            f"from those measured ({measured}); correct them",
        )


def report_blocks(report: dict[str, Any], json_name: str) -> list[Block]:
    """Return the report for people; where it is cut short, it refers to the file `json_name`."""
    return [
        Heading(TITLE, 1),
        *_verdict(report["attention"]),
        Heading("Images", 2),
        *_images(report),
        Heading("Labels", 2),
        *_labels(report, json_name),
        Heading("Files", 2),
        *_files(report, json_name),
        Heading("Channels", 2),
        *_channels(report["channels"]),
        Heading("Duplicates", 2),
        *_duplicates(report["duplicates"], json_name),
    ]


def _verdict(found: Sequence[dict[str, str]]) -> Iterator[Block]:
    if not found:
        yield Paragraph("Nothing needs attention.", strong=True)
        return
    yield Paragraph(f"{count(len(found), 'thing needs', 'things need')} attention:", strong=True)
    yield Bullets([item["message"] for item in found])


def _images(report: dict[str, Any]) -> Iterator[Block]:
    numbers = [(row["class"], row["train"], row["valid"]) for row in report["classes"]]
    numbers.append(("all", report["images"]["train"], report["images"]["valid"]))
    rows = [(name, f"{t:,}", f"{v:,}", f"{t + v:,}") for name, t, v in numbers]
    yield Table(("class", "train", "valid", "both"), rows)
    number = count(report["images"]["test"], "image", "images")
    yield Paragraph(f"The test set has {number}.")


def _labels(report: dict[str, Any], json_name: str) -> Iterator[Block]:
    if report["similar_labels"]:
        yield Paragraph("Labels that differ only in case or spaces:")
        yield Bullets([" and ".join(map(repr, names)) for names in report["similar_labels"]])
    else:
        yield Paragraph("No two labels differ only in case or spaces.")
    if report["unmatched"]:
        yield Paragraph("Left out, as they had a label but no image, or an image but no label:")
        columns = ("id", "problem")
        yield from _first(report["unmatched"], columns, itemgetter(*columns), json_name)
    else:
        yield Paragraph("Every label has its image, and every training image its label.")


def _files(report: dict[str, Any], json_name: str) -> Iterator[Block]:
    formats = report["formats"]
    names = sorted({*formats["labelled"], *formats["test"]})
    rows = [
        (name, f"{formats['labelled'].get(name, 0):,}", f"{formats['test'].get(name, 0):,}")
        for name in names
    ]
    yield Table(("format, mode and size", "labelled", "test"), rows)
    if report["undecodable"]:
        yield Paragraph("Left out, as they could not be decoded:")
        columns = ("image", "problem")
        yield from _first(report["undecodable"], columns, itemgetter(*columns), json_name)
    else:
        yield Paragraph("Every image could be decoded.")


def _channels(channels: dict[str, Any]) -> Iterator[Block]:
    measured, given = channels["measured"], channels["dataset_file"]
    rows = [
        ("mean", "measured", measured["means"]),
        ("", "dataset file", given["means"]),
        ("deviation", "measured, of all pixels", measured["deviations"]),
        ("", "measured, mean of the images' own", measured["image_deviations"]),
        ("", "dataset file", given["deviations"]),
    ]
    yield Paragraph(
        "Measured on all labelled images. A dataset file may have either kind of deviation; "
        f"more than {channels['tolerance']} from both needs attention."
    )
    yield Table(
        ("", "", "red", "green", "blue"),
        [(name, source, *(f"{figure:.4f}" for figure in row)) for name, source, row in rows],
        text_columns=2,
    )


def _duplicates(duplicates: dict[str, Any], json_name: str) -> Iterator[Block]:
    if not duplicates["groups"]:
        yield Paragraph(f"No two images are {EQUAL}.")
        return
    number = count(duplicates["groups"], "group", "groups")
    yield Paragraph(f"{duplicates['images']:,} images, in {number}, are {EQUAL}.")
    rows = [
        (
            f"within {first}" if first == second else f"between {first} and {second}",
            f"{pair['groups']:,}",
            f"{pair['images']:,}",
        )
        for pair in duplicates["pairs"]
        for first, second in [pair["splits"]]
    ]
    yield Table(("", "groups", "images"), rows)
    every = duplicates["all"]
    in_test = [group for group in every if group["test"] and (group["train"] or group["valid"])]
    in_both = [group for group in every if group["train"] and group["valid"]]
    different = duplicates["different_labels"]
    for title, groups, header, row in (
        ("Labelled images that are in the test set, too", in_test, ALL_SPLITS, _ids_by_split),
        ("Images that are in train and in valid", in_both, ALL_SPLITS, _ids_by_split),
        ("The same image with different labels", different, ("labels and ids",), _ids_by_label),
        ("All groups", every, ALL_SPLITS, _ids_by_split),
    ):
        if groups:
            yield Heading(title, 3)
            yield from _first(groups, header, row, json_name)


def _ids_by_split(group: dict[str, list[str]]) -> list[str]:
    return [shortened(group[split]) for split in ALL_SPLITS]


def _ids_by_label(group: dict[str, list[str]]) -> list[str]:
    return ["; ".join(f"{label}: {shortened(ids)}" for label, ids in group.items())]


def _first(
    items: Sequence[Any],
    header: Sequence[str],
    row: Callable[[Any], Sequence[str]],
    json_name: str,
) -> Iterator[Block]:
    """Yield a table with a row for each of the first items, and how many more there are."""
    yield Table(header, [row(item) for item in items[:ROWS_LISTED]], text_columns=len(header))
    if len(items) > ROWS_LISTED:
        yield Paragraph(f"… and {len(items) - ROWS_LISTED:,} more; all are in {json_name}.")


def shortened(names: Sequence[str]) -> str:
    """Return the first names, and how many more there are."""
    more = len(names) - IDS_LISTED
    return ", ".join(names[:IDS_LISTED]) + (f" and {more:,} more" if more > 0 else "")


def count(number: int, one: str, several: str) -> str:
    """Return "1 image", or "2,000 images"."""
    return f"{number:,} {one if number == 1 else several}"
