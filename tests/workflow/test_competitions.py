"""Whole competitions, small: from the bundle to a submission that their own grader grades."""

import csv
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from imagepipe.cli import main
from project import Project

FOLDER = os.environ.get("IMAGEPIPE_COMPETITIONS")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.competitions,
    pytest.mark.skipif(
        FOLDER is None,
        reason="IMAGEPIPE_COMPETITIONS names no folder with make_competitions.py",
    ),
]
# The lines of the dataset file that need a person, and whether the prediction of the competition's
# own test images as new images is compared with the submission.
CASES: dict[str, tuple[dict[str, Any], bool]] = {
    "aerial-cactus-identification": ({}, True),
    "digit-recognizer": ({}, False),
    "plant-pathology-2020-fgvc7": ({"metric": "mean_column_roc_auc"}, True),
    "plant-seedlings-classification": ({"metric": "f1_micro"}, False),
    "siim-isic-melanoma-classification": ({}, False),
    "whale-categorization-playground": ({}, True),
}
# The one with several labels is made with its figures and report.
SEVERAL_LABELS = "plant-pathology-2020-fgvc7"
# Enough to learn something; benchmarks/competitions.py measures what a whole training reaches.
SHORT = "override={epochs: 6, model: {widths: [32, 64, 64]}}"


@dataclass(frozen=True)
class Replica:
    """A replica of a competition, built by the script beside its answers."""

    folder: Path

    @property
    def about(self) -> Any:
        return json.loads((self.folder / "about.json").read_text())

    @property
    def bundle(self) -> Path:
        return self.folder / "raw" / f"{self.folder.name}.zip"

    def grade(self, submission: Path) -> float:
        command = [sys.executable, f"{FOLDER}/make_competitions.py", "grade"]
        command += [str(self.folder), str(submission)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        return float(done.stdout)


@pytest.fixture(scope="module")
def replicas(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the built replicas."""
    folder = tmp_path_factory.mktemp("replicas")
    command = [sys.executable, f"{FOLDER}/make_competitions.py", "--out", str(folder)]
    subprocess.run([*command, "--only", *CASES], check=True, stdout=subprocess.DEVNULL)
    return folder


def invoke(*arguments: object) -> str:
    """Call the command `imagepipe`, and return what it prints."""
    result = CliRunner().invoke(main, list(map(str, arguments)), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize("slug", CASES)
def test_a_competition_from_its_bundle_to_a_grade(
    project: Project, replicas: Path, slug: str
) -> None:
    lines, is_predicted = CASES[slug]
    replica = Replica(replicas / slug)
    file = project.directory / f"{slug}.yaml"
    invoke("init", replica.bundle, "-o", file)
    text = file.read_text()
    assert len(text.splitlines()) <= 20
    assert text.count("CHOOSE") <= 2
    file.write_text(yaml.safe_dump(yaml.safe_load(text) | lines))

    config = (f"dataset={slug}.yaml", f"raw_dir={replica.bundle.parent}", "recipe=thumbnails")
    target = f"results/{slug}/submission.csv" if slug != SEVERAL_LABELS else "submission.csv"
    result = project.run(target, config=(*config, SHORT))
    assert result.code == 0, result.output
    submission = project.directory / target
    better = replica.grade(submission) - replica.about["constant_score"]
    assert (better if replica.about["higher_is_better"] else -better) > 0
    assert project.stale(target, config=(*config, SHORT)) == set()

    if is_predicted:
        (model,) = project.directory.glob(f"results/{slug}/*/seed0/final/model.safetensors")
        predicted = project.directory / "predicted.csv"
        images = project.directory / "data" / slug / "extracted"
        like = project.directory / "data" / slug
        invoke("predict", model, images, "--submission", like, "-o", predicted)
        assert rows(predicted) == rows(submission)


def rows(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))
