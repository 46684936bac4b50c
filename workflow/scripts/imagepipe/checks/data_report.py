"""The report about the data: the findings that need attention, and its text for people."""

import re
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from imagepipe.display.escaping import as_text, counted, escape_markdown
from imagepipe.display.figures import inline_svg
from imagepipe.display.page import page_environment

# As in report.json.
Report = dict[str, Any]

FOLDER = Path(__file__).parent
TITLE = "The data before training"
SECTIONS = ("Images", "Labels", "Files", "Channels", "Duplicates")
ALL_SPLITS = ("train", "valid", "test")


def attention(report: Report) -> dict[str, str]:
    """Return a message for each finding that needs attention, the most serious first."""
    found = {}
    duplicates, channels = report["duplicates"], report["channels"]
    images_in = {tuple(pair["splits"]): pair["images"] for pair in duplicates["pairs"]}
    if number := duplicates["labelled_images_in_test"]:
        images = counted(number, "labelled image is", "labelled images are")
        found["labelled_images_in_test"] = (
            f"{images} in the test set, too, pixel for pixel; no training starts unless "
            "allow_test_images_in_training is set"
        )
    if number := len(duplicates["different_labels"]):
        groups = counted(number, "group of equal images has", "groups of equal images have")
        found["different_labels"] = f"{groups} different labels; correct them in the labels file"
    if number := images_in["train", "valid"]:
        found["in_train_and_valid"] = (
            f"{number:,} images of train and valid are the same, pixel for pixel; the accuracy on "
            "valid will be too high"
        )
    if number := images_in["train", "train"] + images_in["valid", "valid"]:
        found["repeated"] = (
            f"{number:,} images within train or within valid are the same, pixel for pixel; an "
            "image that is there twice counts twice"
        )
    if number := len(report["undecodable"]):
        images = counted(number, "image", "images")
        found["undecodable"] = f"left out: {images} that could not be decoded"
    if number := len(report["salvaged"]):
        images = counted(number, "image is", "images are")
        found["salvaged"] = f"{images} damaged; the part that could be decoded is used"
    if number := len(report["unmatched"]):
        ids = counted(number, "id", "ids")
        found["unmatched"] = f"left out: {ids} without image or without label"
    if similar := report["similar_labels"]:
        more = f" (and {len(similar) - 1:,} more such groups)" if len(similar) > 1 else ""
        found["similar_labels"] = (
            f"the labels {quoted(similar[0])}{more} differ only in case, spaces or the way that a "
            "number is written, and count as different classes; correct them in the labels file"
        )
    if names := report["small_classes"]["classes"]:
        classes = counted(len(names), "class has", "classes have")
        few = report["small_classes"]["fewer_than"]
        found["small_classes"] = f"{classes} fewer than {few} images: {as_text(names)}"
    validation = report["small_validation"]
    if validation["is_small"] and (number := report["images"]["valid"]):
        images = counted(number, "image", "images")
        found["small_validation"] = (
            f"the validation set has {images}; an accuracy measured on so few has a standard error "
            f"of up to {100 * validation['standard_error']:.0f} points; a larger valid_ratio gives "
            "more"
        )
    elif names := validation["classes"]:
        classes = counted(len(names), "class has", "classes have")
        few = validation["fewer_of_class_than"]
        found["small_validation_classes"] = (
            f"{classes} fewer than {few} validation images, which say little about a class: "
            f"{as_text(names)}; a larger valid_ratio gives more"
        )
    if unequal := report["unequal_classes"]:
        largest, smallest = unequal["largest"], unequal["smallest"]
        found["unequal_classes"] = (
            f"the class {largest['class']!r} has {counted(largest['images'], 'image', 'images')}, "
            f"the class {smallest['class']!r} {smallest['images']:,}; if rare classes matter, set "
            "loss.class_weights or sampling to balanced in the recipe"
        )
    for kind in channels["beyond_tolerance"]:
        given, measured = (
            ", ".join(map(str, channels[source][kind])) for source in ("dataset_file", "measured")
        )
        found[f"channel_{kind}"] = (
            f"the dataset file's {kind} ({given}) is more than {channels['tolerance']} from the "
            f"measured one ({measured}); correct it"
        )
    return found


def render(report: Report, ending: str, json_name: str, class_balance: Path | None = None) -> str:
    """Return the report as Markdown (`ending` "md") or as an HTML page ("html").

    Every text is escaped, as it may come from outside. The text refers to the file `json_name`
    where it leaves something out. `class_balance` is the figure's SVG file; Markdown links to the
    PNG file beside it, in a folder beside the text.
    """
    if ending == "html":
        environment = page_environment(FOLDER)
        return environment.get_template("data_report.html.j2").render(
            title=TITLE,
            sections=[(f"data-{name.lower()}", name) for name in SECTIONS],
            content=render_section(report, json_name, 0, class_balance),
            json_name=json_name,
        )
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"counted": counted, "shown": escape_markdown}
    png = class_balance and f"{class_balance.parent.name}/{class_balance.stem}.png"
    text = _fill(environment, "md", report, json_name, class_balance=png)
    return re.sub(r"\n{2,}", "\n\n", text).strip() + "\n"


def render_section(
    report: Report, json_name: str, shift: int, class_balance: Path | None = None
) -> Markup:
    """Return the report as HTML for a page; its first headings have the level 2 + `shift`."""
    svg = class_balance and Markup(inline_svg(class_balance, "Images of each class in the splits"))
    environment = page_environment(FOLDER)
    text = _fill(environment, "section", report, json_name, class_balance=svg, shift=shift)
    return Markup(re.sub(r"\n{2,}", "\n", text).strip())


def _fill(
    environment: Environment, name: str, report: Report, json_name: str, **values: object
) -> str:
    """Return the text of a template of the report, which needs the macros' own `values`."""
    environment.filters |= {
        "quoted": quoted,
        "most": most_frequent,
        "value_in": lambda key, mapping: mapping[key],
    }
    groups = report["duplicates"]["all"]
    return environment.get_template(f"data_report.{name}.j2").render(
        report,
        json_name=json_name,
        groups_in_test=[g for g in groups if g["test"] and (g["train"] or g["valid"])],
        groups_in_both=[g for g in groups if g["train"] and g["valid"]],
        groups_by_label=[{"labels and ids": g} for g in report["duplicates"]["different_labels"]],
        **values,
    )


def most_frequent(formats: dict[str, dict[str, int]]) -> list[tuple[str, int, int]]:
    """Return (format, labelled images, test images), the most frequent first, then by name."""
    labelled, test = formats["labelled"], formats["test"]
    rows = [(name, labelled.get(name, 0), test.get(name, 0)) for name in {**labelled, **test}]
    return sorted(rows, key=lambda row: (-row[1] - row[2], row[0]))


def quoted(names: list[str]) -> str:
    """Return "'cat' and 'Cat'"."""
    return " and ".join(map(repr, names))
