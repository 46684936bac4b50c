"""Which files of a user's folder are read, and which folders are refused."""

from pathlib import Path

import pytest

from builders import dataset_options, refused
from imagepipe.config.dataset_files import refuse_own_folder, sources_in, table_names

FILES = ["train.7z", "test.7z", "trainLabels.csv", "sampleSubmission.csv"]


@pytest.mark.parametrize(
    ("present", "expected"),
    [
        (FILES, FILES),
        ([*FILES, "cifar-10.zip"], FILES),
        (["cifar-10.zip"], ["cifar-10.zip"]),
        (["cifar-10.zip", "train.7z"], ["cifar-10.zip"]),
        (["train.7z", "notes.txt"], ["train.7z"]),
        ([], []),
    ],
)
def test_files_are_preferred_to_the_bundle(
    tmp_path: Path, present: list[str], expected: list[str]
) -> None:
    for name in present:
        (tmp_path / name).touch()
    assert [path.name for path in sources_in(tmp_path, dataset_options("cifar10"))] == expected


@pytest.mark.parametrize(
    ("dataset", "expected"),
    [
        ("cifar10", ["trainLabels.csv", "sampleSubmission.csv"]),
        ("cifar10_tiny", ["trainLabels.csv"]),
        ("cifar10_official", ["trainLabels.csv"]),
    ],
)
def test_tables_are_those_that_the_dataset_names(dataset: str, expected: list[str]) -> None:
    assert table_names(dataset_options(dataset)) == expected


OWN = ("data/cifar10", "results", "logs", ".snakemake")


@pytest.mark.parametrize(
    "raw_dir",
    [
        "data/cifar10",
        "data/cifar10/raw",
        "data/cifar10/extracted/train",
        "data/cifar10/.downloads",
        "results",
        "results/cifar10",
        "logs/mine",
        ".snakemake",
        "kaggle/../results",
        "link-to-results",
        "link-to-results/cifar10",
        "links-of-files",
    ],
)
def test_a_folder_that_the_workflow_writes_to_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raw_dir: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in (*OWN, "results/cifar10", "kaggle", "links-of-files"):
        Path(folder).mkdir(parents=True, exist_ok=True)
    Path("link-to-results").symlink_to("results")
    Path("results/train.7z").touch()
    Path("links-of-files/train.7z").symlink_to("../results/train.7z")
    for path in (Path(raw_dir), tmp_path / raw_dir):
        with refused("raw_dir: ", raw_dir, "move yours to another folder"):
            refuse_own_folder(path, dataset_options("cifar10"), [Path(own) for own in OWN])


@pytest.mark.parametrize(
    "raw_dir", [".", "kaggle", "data", "data/kaggle", "results-of-others", ".."]
)
def test_any_other_folder_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raw_dir: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in (*OWN, raw_dir):
        Path(folder).mkdir(parents=True, exist_ok=True)
    refuse_own_folder(Path(raw_dir), dataset_options("cifar10"), [Path(own) for own in OWN])
