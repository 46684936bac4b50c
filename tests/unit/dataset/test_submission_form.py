"""The files of the submission's form and metric."""

from pathlib import Path

import pytest

from builders import refused
from imagepipe.dataset.submission_form import (
    MetricChoice,
    SubmissionForm,
    read_metric,
    read_submission_form,
    write_metric,
    write_submission_form,
)


@pytest.mark.parametrize(
    "form",
    [
        SubmissionForm("label", ("id", "label")),
        SubmissionForm("probabilities", ("id", "größer", "b"), ("größer", None)),
        SubmissionForm("probability", ("id", "p"), ("1",), positive="1"),
        SubmissionForm("top_k", ("id", "label"), k=5, separator=" "),
    ],
)
def test_form_is_read_as_it_was_written(tmp_path: Path, form: SubmissionForm) -> None:
    write_submission_form(tmp_path / "form.json", form)
    assert read_submission_form(tmp_path / "form.json") == form


@pytest.mark.parametrize("metric", [MetricChoice("log_loss"), MetricChoice("roc_auc", "1")])
def test_metric_is_read_as_it_was_written(tmp_path: Path, metric: MetricChoice) -> None:
    write_metric(tmp_path / "metric.json", metric)
    assert read_metric(tmp_path / "metric.json") == metric


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"name": "label", "columns": 3, "more": 1}'])
def test_files_of_another_version_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "it.json").write_text(text)
    with refused("it.json", "--forcerun form"):
        read_submission_form(tmp_path / "it.json")
    with refused("it.json", "--forcerun form"):
        read_metric(tmp_path / "it.json")
