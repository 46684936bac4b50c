"""Lists of images and tables without images, for tests of the stages that read only these."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from imagepipe.dataset.deciding import decide_form
from imagepipe.dataset.labels import LabelOptions, match_labels


def make_listed(folder: Path, train: Sequence[str], test: Sequence[str] = ()) -> Path:
    """Write `folder`/manifest.tsv with images of these paths below train/ and test/."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [f"train/{path}" for path in train] + [f"test/{path}" for path in test]
    rows = [f"{path}\t100\t00000000\t{number}\n" for number, path in enumerate(paths)]
    text = "path\tbytes\tcrc32\tnumber\n" + "".join(rows)
    (folder / "manifest.tsv").write_text(text, encoding="utf-8")
    return folder


class Matched:
    """The files that the stage `labels` has written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.labels = dict(row[:2] for row in self.rows("labels.csv"))
        self.classes = (folder / "classes.txt").read_text(encoding="utf-8").splitlines()
        self.test = dict(self.rows("test.csv"))
        self.unmatched = self.rows("unmatched.csv")
        self.form = json.loads((folder / "submission_form.json").read_text(encoding="utf-8"))
        self.metric = json.loads((folder / "metric.json").read_text(encoding="utf-8"))

    def rows(self, name: str) -> list[list[str]]:
        """Return the rows of a table below its header."""
        with (self.folder / name).open(encoding="utf-8", newline="") as file:
            return list(csv.reader(file))[1:]


def matched(
    folder: Path,
    train: Sequence[str],
    test: Sequence[str],
    tables: dict[str, str | bytes],
    **options: Any,
) -> Matched:
    """Run the stages `labels` and `form` on images of these paths and on tables {name: content}."""
    extracted = make_listed(folder / "extracted", train, test)
    for name, content in tables.items():
        (extracted / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    checked = LabelOptions.checked(options, "options")
    match_labels(extracted, folder, checked)
    decide_form(extracted, folder, checked)
    return Matched(folder)
