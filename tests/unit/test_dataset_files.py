"""Which files of a user's folder are read."""

from pathlib import Path

import pytest

from builders import dataset_options
from imagepipe.dataset_files import sources_in, table_names

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
        ("cifar10", {"labels": "trainLabels.csv", "sample_submission": "sampleSubmission.csv"}),
        ("cifar10_tiny", {"labels": "trainLabels.csv"}),
        ("cifar10_official", {"labels": "trainLabels.csv", "true_labels": "testLabels.csv"}),
    ],
)
def test_tables_are_those_that_the_dataset_names(dataset: str, expected: dict[str, str]) -> None:
    assert table_names(dataset_options(dataset)) == expected
