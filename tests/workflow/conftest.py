"""Projects for the workflow tests: a fresh one for each, and one that is finished."""

import csv
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
import yaml

from builders import make_competition
from project import QUICK, Project
from stages import Job, recorded_jobs

# A user's own dataset: the competition's files, and the true labels of its test images.
OWN_DATASET = {
    "title": "a user's own",
    "source": "raw_dir",
    "files": [
        {"name": "train.7z"},
        {"name": "test.7z"},
        {"name": "trainLabels.csv"},
        {"name": "sampleSubmission.csv"},
        {"name": "testLabels.csv"},
    ],
    "image_size": 32,
    "labels": {"file": "trainLabels.csv"},
    "split": {"name": "book"},
    "sample_submission": "sampleSubmission.csv",
    "true_labels": "testLabels.csv",
    "mean": [0.5, 0.5, 0.5],
    "std": [0.25, 0.25, 0.25],
}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A copy of the workflow that has never run."""
    return Project.copy_to(tmp_path)


@pytest.fixture(scope="session")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], list[Job]]:
    """The jobs that prepare the data in a layout, as the real Snakefile has them."""
    return cache(lambda layout: recorded_jobs(tmp_path_factory.mktemp(layout), layout))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Project, tuple[str, ...]]]:
    """A copy of the workflow that has run to the end on a user's own dataset, and its config."""
    project = Project.copy_to(tmp_path_factory.mktemp("finished"))
    raw = project.directory / "kaggle"
    raw.mkdir()
    competition = make_competition(raw, train=40, test=12)
    with (raw / "testLabels.csv").open("w", newline="") as file:
        rows = [(image_id, "cat") for image_id in competition.test_ids]
        csv.writer(file).writerows([("id", "label"), *rows])
    (project.directory / "own.yaml").write_text(yaml.safe_dump(OWN_DATASET, sort_keys=False))
    config = ("dataset=own.yaml", "raw_dir=kaggle", QUICK)
    result = project.run(config=config)
    assert result.code == 0, result.output
    yield project, config
