"""Bad input to the real rules: one line, exit code 1, and nothing half-written or overwritten."""

import csv
import hashlib
import os
from collections.abc import Callable
from functools import partial
from http.server import SimpleHTTPRequestHandler
from pathlib import Path

import pytest
import yaml

from bad_input import ACCEPTED, CASES, LABELS, LOW_LIMITS, OUTSIDE, Case, Unusual, write_files
from builders import CLASSES, label_of, make_competition, make_tiny_zip, served
from imagepipe.archives import safety
from project import Project
from snapshots import snapshot
from stages import Job, run_jobs

LAYOUTS = ("folders", "packed")
# What the rules write to, in the working directory.
OWN_FOLDERS = ("data", "logs", ".snakemake")
# Cases that go through snakemake, too: of each rule, some.
THROUGH_SNAKEMAKE = (
    "no folder",
    "no archive",
    "7z: path that goes up",
    "7z: symbolic link",
    "7z: cut in the middle",
    "7z: not an archive",
    "no column of labels",
    "id twice",
    "id without an image",
    "label with a control character",
    "sample submission's id without an image",
    "PNG image without its end",
)


def spoiled(directory: Path, case: Case | Unusual) -> Path:
    """Write spoiled files below a new working directory, and files of the user's all around."""
    raw = directory / "kaggle"
    raw.mkdir(parents=True)
    write_files(raw, case.kind)
    for place in (directory.parent, directory, raw):
        (place / OUTSIDE).write_bytes(b"the user's own")
    (directory / "submission.csv").write_text("the user's own")
    (case.spoil if isinstance(case, Case) else case.change)(raw)
    return raw


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", CASES)
def test_bad_input_ends_in_one_line(
    tmp_path: Path,
    jobs: Callable[[str], list[Job]],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    layout: str,
) -> None:
    """The rules' own scripts, one after the other, in this process."""
    case = CASES[name]
    for limit, value in LOW_LIMITS.items():
        monkeypatch.setattr(safety, limit, value)
    directory = tmp_path / "work"
    spoiled(directory, case)
    before = snapshot(tmp_path, *(directory / folder for folder in OWN_FOLDERS))

    outcome = run_jobs(jobs(layout), directory, case.kind, case.options)

    assert outcome.failed == case.fails_in(layout), outcome
    assert outcome.code == 1
    # Nothing else is in the log, and the terminal has the same line.
    (line,) = outcome.log.splitlines()
    assert line.startswith("error: ")
    assert line.isprintable()
    assert len(line) < 600
    for word in case.words:
        assert word in line
    assert f"[{outcome.failed}] {line}\n" in outcome.terminal
    assert "Traceback" not in outcome.terminal
    assert outcome.left_over == []
    assert snapshot(tmp_path, *(directory / folder for folder in OWN_FOLDERS)) == before


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", ACCEPTED)
def test_unusual_input_is_taken_and_stays_in_its_folders(
    tmp_path: Path, jobs: Callable[[str], list[Job]], name: str, layout: str
) -> None:
    case = ACCEPTED[name]
    directory = tmp_path / "work"
    spoiled(directory, case)
    before = snapshot(tmp_path, *(directory / folder for folder in OWN_FOLDERS))

    outcome = run_jobs(jobs(layout), directory, case.kind)

    assert (outcome.failed, outcome.code) == (None, 0), outcome
    assert outcome.left_over == []
    assert snapshot(tmp_path, *(directory / folder for folder in OWN_FOLDERS)) == before
    data = directory / "data/cifar10"
    with (data / "packed/32x32/labelled.csv").open(encoding="utf-8", newline="") as file:
        labels = {row["id"]: row["label"] for row in csv.DictReader(file)}
    assert sorted(labels) == ["1", "2", "3", "4", "5", "6"]
    assert labels["2"] == (case.label or label_of(2, CLASSES[:2]))
    if layout == "folders":
        (path,) = (data / "train_valid_test/train_valid").rglob("2.*")
        assert path.parents[1] == data / "train_valid_test/train_valid"
        assert len(list((data / "train_valid_test/test/unknown").iterdir())) == 4


@pytest.mark.parametrize("name", THROUGH_SNAKEMAKE)
def test_bad_input_to_snakemake_ends_in_one_line(project: Project, name: str) -> None:
    case = CASES[name]
    directory = project.directory
    spoiled(directory, case)
    own = [directory / folder for folder in OWN_FOLDERS]
    before = snapshot(directory.parent, *own, project.folder)

    result = project.run("pack", config=("dataset=cifar10", "raw_dir=kaggle"))

    assert result.code == 1, result.output
    assert "Traceback" not in result.output
    assert len(result.errors) == 1, result.output
    for word in case.words:
        assert word in result.errors[0]
    assert snapshot(directory.parent, *own, project.folder) == before
    data = directory / "data/cifar10"
    written = {"fetch": "raw", "extract": "extracted", "labels": "labels.csv", "pack": "packed"}
    assert not list((data / written[case.rule]).glob("*"))
    assert not list(directory.rglob("*.part"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_file_that_must_not_be_read_is_named(
    tmp_path: Path, jobs: Callable[[str], list[Job]]
) -> None:
    directory = tmp_path / "work"
    raw = directory / "kaggle"
    raw.mkdir(parents=True)
    write_files(raw)
    (raw / "test.7z").chmod(0)
    outcome = run_jobs(jobs("folders"), directory)
    assert (outcome.failed, outcome.code) == ("fetch", 1)
    assert outcome.log == "error: data/cifar10/raw/test.7z: Permission denied\n"


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
        ("override: optimizer", "learning_rate", "known: name, lr"),
    ),
    "wrong type in the recipe": (
        ("override={epochs: 2.5}",),
        ("override: epochs", "a whole number"),
    ),
    "override that is no mapping": (("override=7",), ("override", "a mapping")),
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
