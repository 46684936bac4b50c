"""The form and the metric of a submission, as the stage `form` writes them for later stages."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from imagepipe.errors import UserError
from imagepipe.files import write_text

FormName = Literal["label", "probabilities", "probability", "top_k", "several_labels"]


@dataclass(frozen=True)
class SubmissionForm:
    """The columns of a submission: one for the ids, then one or more for the predictions.

    `header` names all of them. `columns` gives the class of each probability column, None for a
    class without training images, whose probability is 0. `positive` is the class of the only
    probability column, `k` the number of classes in a top_k field, and `separator` what stands
    between classes in one field.
    """

    name: FormName
    header: tuple[str, ...]
    columns: tuple[str | None, ...] = ()
    positive: str | None = None
    k: int | None = None
    separator: str | None = None


@dataclass(frozen=True)
class MetricChoice:
    """The competition's metric; `positive` is the positive class of a metric of two classes."""

    name: str
    positive: str | None = None


def write_submission_form(path: Path, form: SubmissionForm) -> None:
    """Write submission_form.json."""
    write_text(path, json.dumps(asdict(form), ensure_ascii=False, indent=2) + "\n")


def read_submission_form(path: Path) -> SubmissionForm:
    """Read submission_form.json. Raises `UserError` if another version wrote it."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        lists = {key: tuple(values[key]) for key in ("header", "columns")}
        return SubmissionForm(**(values | lists))
    except (ValueError, TypeError, KeyError):
        raise UserError(f"{path}: cannot be read; run again with --forcerun form") from None


def write_metric(path: Path, metric: MetricChoice) -> None:
    """Write metric.json."""
    write_text(path, json.dumps(asdict(metric), ensure_ascii=False, indent=2) + "\n")


def read_metric(path: Path) -> MetricChoice:
    """Read metric.json. Raises `UserError` if another version wrote it."""
    try:
        return MetricChoice(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError):
        raise UserError(f"{path}: cannot be read; run again with --forcerun form") from None
