"""What is read of a run, with other values, and its sentences as text."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from imagepipe.evaluation.report_inputs import Results
from imagepipe.evaluation.sentences import Sentence


def words(sentences: Sequence[Sentence]) -> str:
    return " ".join(one.markdown() for one in sentences).replace("\N{NO-BREAK SPACE}", " ")


def changed(results: Results, **fields: Any) -> Results:
    """Return results with other fields of the evaluation."""
    return replace(results, evaluation=replace(results.evaluation, **fields))
