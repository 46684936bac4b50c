"""The script of the rule `evaluate`, with the files that the rule gives."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from evaluate import main
from evaluation_builders import drawn_predictions
from imagepipe.dataset.submission_form import MetricChoice, write_metric
from imagepipe.evaluation.evaluation_file import Evaluation, read_results
from imagepipe.metrics.decisions import Thresholds, write_thresholds
from imagepipe.prediction.logits import write_predictions

FIGURES = ("confusion", "classes", "reliability", "mistakes", "unsure")


@pytest.mark.parametrize("with_thresholds", [False, True])
def test_results_and_figures(tmp_path: Path, with_thresholds: bool) -> None:
    predictions, labels = drawn_predictions(40, ["no", "yes"], skill=1.0)
    write_predictions(tmp_path / "valid_logits.npz", predictions, labels)
    write_metric(tmp_path / "metric.json", MetricChoice("f1", "yes"))
    # The validation images are the last ones of the packed array, in another order.
    ids = [*(f"train {i}" for i in range(25)), *predictions.ids.tolist()[::-1]]
    rows = "".join(f"{image_id},x\n" for image_id in ids)
    (tmp_path / "labelled.csv").write_text(f"id,label\n{rows}")
    np.save(tmp_path / "labelled.npy", np.zeros((65, 8, 8, 3), dtype=np.uint8))
    files = {
        "valid_logits": "valid_logits.npz",
        "metric": "metric.json",
        "labelled": "labelled.npy",
        "labelled_table": "labelled.csv",
    }
    if with_thresholds:
        files["thresholds"] = "thresholds.json"
        write_thresholds(tmp_path / "thresholds.json", Thresholds("one", (0.9,), "yes"))
    paths = {name: str(tmp_path / file) for name, file in files.items()}
    output = {name: str(tmp_path / "figures" / f"{name}.svg") for name in FIGURES}
    output["evaluation"] = str(tmp_path / "evaluation.json")
    main(
        SimpleNamespace(
            input=SimpleNamespace(**paths, get=paths.get), output=SimpleNamespace(**output)
        )
    )
    evaluation = read_results(tmp_path / "evaluation.json", Evaluation)
    assert evaluation.images == 40
    assert evaluation.metric == "f1"
    assert (evaluation.accuracy == evaluation.decision_accuracy) == (not with_thresholds)
    for one in evaluation.mistakes:
        assert ids[one.row] == one.id
    for name in FIGURES:
        assert (tmp_path / "figures" / f"{name}.svg").stat().st_size > 500
        assert (tmp_path / "figures" / f"{name}.png").stat().st_size > 500
