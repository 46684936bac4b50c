"""Folders and bundles for `imagepipe init` to look at."""

import io
import re
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from PIL import Image

from imagepipe.config.dataset import Contents, Dataset, Source
from imagepipe.config.dataset_files import table_names
from imagepipe.dataset.deciding import decide_form
from imagepipe.dataset.extraction import extract, extract_tables
from imagepipe.dataset.labels import LabelOptions, match_labels
from imagepipe.inspection.dataset_file import init
from imagepipe.sources.fetching import fetch

Files = dict[str, bytes]


def picture(ending: str = "png", size: tuple[int, int] = (8, 6)) -> bytes:
    content = io.BytesIO()
    formats = {"jpg": "JPEG", "tif": "TIFF"}
    Image.new("RGB", size).save(content, formats.get(ending, ending.upper()))
    return content.getvalue()


def pictures(folder: str, names: Iterable[object], ending: str = "png") -> Files:
    """Return images by path; larger ones have larger names."""
    content = picture(ending)
    return {f"{folder}/{name}.{ending}".lstrip("/"): content for name in names}


def table(rows: Iterable[str], encoding: str = "utf-8") -> bytes:
    return "".join(f"{row}\n" for row in rows).encode(encoding)


def zipped(files: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", method) as archive:
        for name, one in files.items():
            archive.writestr(name, one)
    return content.getvalue()


def write(folder: Path, files: Mapping[str, bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


@dataclass(frozen=True)
class Found:
    """A written dataset file: its keys, those with a line for a human, its text, and the output."""

    keys: dict[str, Any]
    choose: list[str]
    text: str
    lines: str


def run_labels(dataset: Dataset, raw_dir: Path, folder: Path) -> str:
    """Run the stages from fetch to labels, and return the text of labels.csv."""
    raw, extracted = folder / "raw", folder / "extracted"
    fetch(dataset.part(Source), raw_dir, raw, folder / "downloads", folder / "record")
    contents = dataset.part(Contents)
    extract(contents, raw, extracted, layout="packed")
    extract_tables(contents, raw, {name: extracted / name for name in table_names(dataset)})
    match_labels(extracted, folder, dataset.part(LabelOptions))
    decide_form(extracted, folder, dataset.part(LabelOptions))
    return (folder / "labels.csv").read_text(encoding="utf-8")


def look(source: Path, target: Path, *, run: bool = True) -> Found:
    """Run `imagepipe init` on a folder or a bundle, and the stages as far as labels."""
    lines = init(source, target, force=False)
    text = target.read_text(encoding="utf-8")
    keys = yaml.safe_load(text)
    dataset = Dataset.checked(keys, "the file")
    assert len(text.splitlines()) <= 20
    choose = re.findall(r"^# CHOOSE: .*\n(\w+):", text, re.MULTILINE)
    if run:
        raw_dir = Path(re.search(r"raw_dir=(\S+)", lines[-1])[1])
        labels = run_labels(dataset, raw_dir, target.parent / "data")
        n = int(re.search(r"([\d,]+) training images", "\n".join(lines))[1].replace(",", ""))
        assert len(labels.splitlines()) == n + 1
    return Found(keys, choose, text, "\n".join(lines))
