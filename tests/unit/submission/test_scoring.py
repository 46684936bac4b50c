"""The score of a submission whose true labels are known."""

import json
from pathlib import Path

import pytest

from builders import refused
from imagepipe.submission.scoring import score, write_score

TRUTH = "id,label\n1,cat\n2,dog\n3,frog\n4,cat\n"


@pytest.mark.parametrize(
    ("submission", "truth"),
    [
        ("id,label\n1,cat\n2,dog\n3,frog\n4,dog\n", TRUTH),
        ("Id,Animal\n4,dog\n3,frog\n2,dog\n1,cat\n", TRUTH),
        (
            "id,label\n1,cat\n2,dog\n3,frog\n4,dog\n",
            TRUTH.replace(",", ".png,").replace("d.png", "d"),
        ),
        ("id,frog,cat,dog\n1,0,.6,.4\n2,0,.4,.6\n3,.5,.3,.2\n4,0,.4,.6\n", TRUTH),
    ],
    ids=["labels", "another order", "ids with extension", "probabilities"],
)
def test_accuracy_is_the_part_of_the_images_that_are_right(
    tmp_path: Path, submission: str, truth: str
) -> None:
    (tmp_path / "submission.csv").write_text(submission)
    (tmp_path / "true.csv").write_text(truth)
    result = score(tmp_path / "submission.csv", tmp_path / "true.csv", "id", "label")
    assert result == {"accuracy": 0.75, "n": 4}
    write_score(tmp_path / "score.json", result)
    assert json.loads((tmp_path / "score.json").read_text()) == result


@pytest.mark.parametrize(
    ("submission", "words"),
    [
        ("id,label\n1,cat\n2,dog\n3,frog\n5,dog\n", ["submission.csv", "row 5", "'5'"]),
        ("id,label\n1,cat\n2,dog\n3,frog\n3,dog\n", ["submission.csv", "row 5", "'3'"]),
        ("id,label\n1,cat\n2,dog\n3,frog\n", ["true.csv", "4 labels", "3 test images"]),
    ],
)
def test_labels_of_other_images_are_refused(
    tmp_path: Path, submission: str, words: list[str]
) -> None:
    (tmp_path / "submission.csv").write_text(submission)
    (tmp_path / "true.csv").write_text(TRUTH)
    with refused(str(tmp_path), *words):
        score(tmp_path / "submission.csv", tmp_path / "true.csv", "id", "label")
