"""Bad input to the real workflow: one line, exit code 1, and nothing half-written."""

import hashlib
import io
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler
from pathlib import Path

import py7zr
import pytest
import yaml

from builders import make_competition, make_tiny_zip, png_bytes, served, write_archive
from project import Project


@dataclass(frozen=True)
class Case:
    """A way to spoil a competition's files, the words of the message, and what must not exist."""

    spoil: Callable[[Path], object]
    words: tuple[str, ...]
    absent: str


def edit(name: str, change: Callable[[list[str]], list[str]]) -> Callable[[Path], object]:
    """Return a function that changes the lines of a CSV file."""

    def spoil(raw: Path) -> None:
        path = raw / name
        path.write_text("\n".join(change(path.read_text().splitlines())) + "\n")

    return spoil


def cut(name: str) -> Callable[[Path], object]:
    """Return a function that cuts a file to two thirds."""

    def spoil(raw: Path) -> None:
        content = (raw / name).read_bytes()
        (raw / name).write_bytes(content[: len(content) * 2 // 3])

    return spoil


def add(name: str, member: str, content: bytes) -> Callable[[Path], object]:
    """Return a function that adds a member to an archive."""

    def spoil(raw: Path) -> None:
        with py7zr.SevenZipFile(raw / name, "a") as archive:
            archive.writef(io.BytesIO(content), member)

    return spoil


LABELS = "trainLabels.csv"
SAMPLE = "sampleSubmission.csv"
CASES: dict[str, Case] = {
    "no archive": Case(
        lambda raw: (raw / "test.7z").unlink(), ("test.7z", "does not exist"), "raw/SHA256SUMS"
    ),
    "no folder": Case(
        lambda raw: shutil.rmtree(raw), ("raw_dir", "is not a folder"), "raw/SHA256SUMS"
    ),
    "archive cut short": Case(
        cut("train.7z"), ("train.7z", "cut short", "get the archive again"), "extracted"
    ),
    "not an archive": Case(
        lambda raw: (raw / "test.7z").write_text("<html>log in</html>"),
        ("test.7z", "damaged", "get the archive again"),
        "extracted",
    ),
    "no images": Case(
        lambda raw: write_archive(raw / "test.7z", {"test/1.gif": b"GIF89a"}),
        ("'test'", "test_folder"),
        "extracted",
    ),
    "missing column": Case(
        edit(LABELS, lambda lines: ["id,class", *lines[1:]]),
        (LABELS, "row 1", "'label'", "correct the header"),
        "labels.csv",
    ),
    "duplicate id": Case(
        edit(LABELS, lambda lines: [*lines, "3,cat"]),
        (LABELS, "row 32", "'3'", "row 4", "remove one"),
        "labels.csv",
    ),
    "id without image": Case(
        edit(LABELS, lambda lines: [*lines, "777,cat"]),
        (LABELS, "row 32", "'777'", "remove the row"),
        "labels.csv",
    ),
    "image without label": Case(
        edit(LABELS, lambda lines: lines[:-1]), (LABELS, "30.png", "add its label"), "labels.csv"
    ),
    "empty label": Case(
        edit(LABELS, lambda lines: [lines[0], "1,", *lines[2:]]),
        (LABELS, "row 2", "empty", "fill it in"),
        "labels.csv",
    ),
    "label that leads out of the folder": Case(
        edit(LABELS, lambda lines: [lines[0], "1,../../../out", *lines[2:]]),
        (LABELS, "row 2", "name of a folder", "rename"),
        "labels.csv",
    ),
    "row with too many fields": Case(
        edit(LABELS, lambda lines: [lines[0], "1,cat,7", *lines[2:]]),
        (LABELS, "row 2", "3 fields", "correct the row"),
        "labels.csv",
    ),
    "undecodable image": Case(
        add("test.7z", "test/21.png", b"\x89PNG\r\n\x1a\n rubbish"),
        ("21.png", "not a readable", "replace it"),
        "packed/test.npy",
    ),
    "image of another size": Case(
        add("test.7z", "test/21.png", png_bytes(1, size=40)),
        ("21.png", "40×40", "32×32", "resize it"),
        "packed/test.npy",
    ),
    "test image that the sample submission lacks": Case(
        edit(SAMPLE, lambda lines: lines[:-1]), (SAMPLE, "no row", "'20'", "again"), "labels.csv"
    ),
    "id of the sample submission that is no image": Case(
        edit(SAMPLE, lambda lines: [*lines, "99,cat"]),
        (SAMPLE, "row 22", "'99'", "again"),
        "labels.csv",
    ),
}
# In the two cases of images, the sample submission has a row for the one that is added.
WITH_ROW_21 = {"undecodable image", "image of another size"}


@pytest.mark.parametrize("name", CASES)
def test_bad_input_ends_in_one_line(project: Project, name: str) -> None:
    case = CASES[name]
    raw = project.directory / "kaggle"
    raw.mkdir()
    make_competition(raw, train=30, test=20)
    case.spoil(raw)
    if name in WITH_ROW_21:
        edit(SAMPLE, lambda lines: [*lines, "21,cat"])(raw)

    result = project.run("pack", config=("dataset=cifar10", "raw_dir=kaggle"))

    assert result.code == 1, result.output
    assert "Traceback" not in result.output
    assert len(result.errors) == 1, result.output
    for word in case.words:
        assert word in result.errors[0]
    assert not (project.directory / "data" / "cifar10" / case.absent).exists()
    assert not (project.directory / "submission.csv").exists()
    assert not list(project.directory.rglob("*.part"))


def test_mended_input_goes_on_from_where_it_failed(project: Project) -> None:
    raw = project.directory / "kaggle"
    raw.mkdir()
    make_competition(raw, train=30, test=20)
    whole = (raw / LABELS).read_text()
    (raw / LABELS).write_text(whole + "777,cat\n")
    config = ("dataset=cifar10", "raw_dir=kaggle")
    assert project.run("pack", config=config).code == 1
    (raw / LABELS).write_text(whole)
    result = project.run("pack", config=config)
    assert result.code == 0, result.output


# The Snakefile itself refuses these, before any job.
SETTINGS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "unknown key": (("vaild_ratio=0.1",), ("vaild_ratio", "did you mean 'valid_ratio'?")),
    "unknown dataset": (("dataset=cifar",), ("'cifar'", "did you mean 'cifar10'?")),
    "unknown recipe": (("recipe=d2",), ("'d2'", "did you mean 'd2l'?", "fast")),
    "no such recipe file": (("recipe=my/own.yaml",), ("my/own.yaml", "no file")),
    "wrong type": (("seed=many",), ("seed", '"many"', "a whole number")),
    "out of range": (("valid_ratio=1.5",), ("valid_ratio", "1.5", "less than 1")),
    "unknown choice": (("device=gpu",), ("device", '"gpu"', "auto, cpu, cuda, mps")),
    "unknown key of the recipe": (
        ("override={optimizer: {learning_rate: 1}}",),
        ("override: optimizer", "learning_rate", "known: lr"),
    ),
    "wrong type in the recipe": (
        ("override={epochs: 2.5}",),
        ("override: epochs", "a whole number"),
    ),
    "override that is no mapping": (("override=7",), ("override", "a mapping")),
    "nothing to fetch from": (("dataset=cifar10",), ("raw_dir", "cifar-10.zip", "kaggle.com")),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_wrong_setting_ends_in_one_line(project: Project, name: str) -> None:
    config, words = SETTINGS[name]
    result = project.run("submission.csv", config=config)
    assert result.code == 1
    assert "Traceback" not in result.output
    assert len(result.errors) == 1, result.output
    for word in words:
        assert word in result.errors[0]
    assert not list(project.directory.rglob("*.csv"))


@pytest.mark.parametrize("right", [True, False], ids=["right checksum", "wrong checksum"])
def test_a_download_is_used_only_if_its_checksum_is_right(project: Project, right: bool) -> None:
    folder = project.directory / "served"
    folder.mkdir()
    make_tiny_zip(folder)
    archive = folder / "kaggle_cifar10_tiny.zip"
    sha1 = hashlib.sha1(archive.read_bytes()).hexdigest()
    dataset = yaml.safe_load((project.folder / "workflow/datasets/cifar10_tiny.yaml").read_text())
    with served(partial(SimpleHTTPRequestHandler, directory=str(folder))) as address:
        dataset["files"][0] |= {
            "url": f"{address}/{archive.name}",
            "checksum": f"sha1:{sha1 if right else 40 * '0'}",
        }
        (project.directory / "mine.yaml").write_text(yaml.safe_dump(dataset))
        result = project.run("pack", config=("dataset=mine.yaml",))
    raw = project.directory / "data/mine/raw"
    if right:
        assert result.code == 0, result.output
        assert (raw / archive.name).read_bytes() == archive.read_bytes()
    else:
        assert result.code == 1
        assert len(result.errors) == 1
        for word in (archive.name, "sha1", sha1, "nothing was kept"):
            assert word in result.errors[0]
        assert not list(raw.glob("*"))
