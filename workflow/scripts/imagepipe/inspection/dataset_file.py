"""The dataset file, as text with comments, and the command `imagepipe init`."""

import shlex
from pathlib import Path

import yaml

from imagepipe.config.dataset import Dataset
from imagepipe.errors import UserError, one_line
from imagepipe.files import write_text
from imagepipe.inspection.evidence import Guess
from imagepipe.inspection.guess import guess
from imagepipe.inspection.listing import Listing, looked_at

ORDER = (
    "source", "files", "train_folder", "test_folder", "archive_format", "pixels", "encoding",
    "image_size", "labels", "test_ids", "sample_submission", "true_labels", "submission", "metric",
    "split",
)  # fmt: skip
FIRST_RECIPE = "thumbnails"
DEFAULTS = {"files": [], "train_folder": "train", "test_folder": "test"}


def init(source: Path, output: Path | None, force: bool) -> list[str]:
    """Look at a folder or a bundle, write a dataset file, and return lines for the user.

    Raises `UserError` for what cannot be read, and for a file that exists.
    """
    name = source.absolute().name.split(".")[0] or "dataset"
    target = output or Path(f"{name}.yaml")
    if target.exists() and not force:
        raise UserError(f"{target}: exists; give another name by -o, or overwrite it by --force")
    if source.is_dir() and target.absolute().resolve().is_relative_to(source.resolve()):
        raise UserError(f"{target}: is in the folder that is looked at; give another place by -o")
    with looked_at(source) as listing:
        found = guess(listing)
        text = dataset_text(listing, found)
    Dataset.checked(yaml.safe_load(text), str(target))
    write_text(target, text)
    options = {"dataset": target, "raw_dir": listing.raw_dir, "recipe": FIRST_RECIPE}
    if found.drop_unmatched:
        options["on_bad_image"] = "drop"
    shown = " ".join(f"{key}={shlex.quote(str(value))}" for key, value in options.items())
    n = text.count("\n# CHOOSE: ")
    look = f" and its {n} line{'s'[: n - 1]} below CHOOSE" if n else ""
    return [
        *found.lines,
        # The command is the last line.
        "for photographs, recipe=probe and recipe=finetune start from an ImageNet network",
        f"wrote {target}; check the lines above{look}, then run:",
        f"  snakemake --cores all submission.csv --config {shown}",
    ]


def dataset_text(listing: Listing, found: Guess) -> str:
    """Return the text of a dataset file."""
    name = (listing.bundle or listing.raw_dir.name).split(".")[0]
    lines = ["# Written by `imagepipe init`. Keys not listed here keep their defaults."]
    if listing.bundle:
        lines.append(
            "# To let Kaggle's files be downloaded, set `source: kaggle` and "
            f"`competition: {one_line(name)}`."
        )
    lines.append(f"title: {scalar(one_line(name))}")
    for key in ORDER:
        is_default = key not in found.values or found.values[key] == DEFAULTS.get(key, ...)
        if is_default and key not in found.choose:
            continue
        if key in found.choose:
            lines.append(f"# CHOOSE: {one_line(found.choose[key])}")
        lines.append(f"{key}: {scalar(found.values.get(key, DEFAULTS.get(key)))}")
    return "\n".join(lines) + "\n"


def scalar(value: object) -> str:
    """Return a value as YAML on one line."""
    text = yaml.safe_dump(
        value, default_flow_style=True, width=1 << 30, allow_unicode=True, sort_keys=False
    )
    return text.removesuffix("\n").removesuffix("\n...")
