"""What is written for the report is read back, or refused in one line."""

import json
from pathlib import Path

import pytest

from builders import refused
from evaluation_builders import drawn_evaluation
from imagepipe.evaluation.evaluation_file import Evaluation, read_results, write_results


def test_results_are_read_back(tmp_path: Path) -> None:
    evaluation = drawn_evaluation(30, ["a", "قط", "<b>"])
    write_results(tmp_path / "evaluation.json", evaluation)
    assert read_results(tmp_path / "evaluation.json", Evaluation) == evaluation
    # Names are readable in the file.
    assert "قط" in (tmp_path / "evaluation.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("change", ["cut", "without a field", "not a number"])
def test_another_versions_file_is_refused(change: str, tmp_path: Path) -> None:
    path = tmp_path / "evaluation.json"
    write_results(path, drawn_evaluation(30, 3))
    content = json.loads(path.read_text())
    if change == "without a field":
        del content["calibration"]
    if change == "not a number":
        content["images"] = "many"
    text = json.dumps(content)
    path.write_text(text[:100] if change == "cut" else text)
    with refused("evaluation.json", "cannot be read"):
        read_results(path, Evaluation)
