"""Why a job would run, in a few words."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rerun_reasons import params_change, reason_in_short

NO_REASON: dict[str, Any] = {
    "forced": False,
    "missing_output": set(),
    "incomplete_output": set(),
    "input_changed": False,
    "updated_input": set(),
    "updated_input_run": set(),
}


def as_kept(*params: object) -> set[str]:
    """Return params as Snakemake keeps them."""
    texts = (json.dumps(param) if isinstance(param, dict) else param for param in params)
    return set(map(repr, texts))


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            as_kept({"valid_ratio": 0.1, "split_seed": 0}),
            as_kept({"valid_ratio": 0.3, "split_seed": 0}),
            "valid_ratio changed from 0.1 to 0.3",
        ),
        (
            as_kept({"recipe": {"optimizer": {"lr": 0.1, "name": "sgd"}}, "seed": 0}),
            as_kept({"recipe": {"optimizer": {"lr": 0.2, "name": "adam"}}, "seed": 0}),
            "recipe.optimizer.lr changed from 0.1 to 0.2, "
            'recipe.optimizer.name changed from "sgd" to "adam"',
        ),
        (
            as_kept({"a": None}, "0123456789abcdef"),
            as_kept({"a": 1}, "fedcba9876543210"),
            "a changed from null to 1, the code changed",
        ),
        (as_kept({"files": ["a.7z"]}), as_kept({"files": ["b" * 50]}), "files changed"),
        (as_kept("1234567890123456"), as_kept("6543210987654321"), "the code changed"),
        (as_kept({"a": 1}, {"a": 2}), as_kept({"a": 3}), "its options changed"),
        (as_kept("results/here"), as_kept("results/there"), "its params changed"),
        ({"<not of Python>"}, set(), "its params changed"),
    ],
)
def test_the_option_that_changed_is_named(old: set[str], new: set[str], expected: str) -> None:
    assert params_change(old, new) == expected


class Job:
    """Stands for one of Snakemake's."""

    def __init__(self, output: list[str]) -> None:
        self.output = output


def reason(folder: Path, changes: object = None, **given: Any) -> str:
    """Return the reason for a job with two outputs, one of which is there."""
    (folder / "made").touch()
    outputs = [str(folder / name) for name in given.pop("outputs", ("made", "missing"))]
    job = Job(outputs)
    others = [SimpleNamespace(rule=SimpleNamespace(name=name)) for name in ("split", "pack", "old")]
    dag = SimpleNamespace(
        reason=lambda _: SimpleNamespace(**NO_REASON | given),
        workflow=SimpleNamespace(
            persistence=SimpleNamespace(params_changed=lambda _: changes or False)
        ),
        dependencies={job: others},
        needrun=lambda other: other.rule.name != "old",
    )
    return reason_in_short(dag, job)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"forced": True, "missing_output": {"a"}}, "forced"),
        ({"missing_output": {"a"}, "outputs": ("missing",)}, "not made yet"),
        ({"missing_output": {"a"}, "updated_input_run": {"b"}}, "a is missing"),
        ({"missing_output": {"c", "a", "b"}}, "a and 2 more are missing"),
        ({"incomplete_output": {"a"}}, "it was interrupted"),
        ({"input_changed": True}, "it has other input files"),
        ({"updated_input": {"a", "b"}, "updated_input_run": {"b"}}, "a is newer"),
        ({"updated_input": {"b"}, "updated_input_run": {"b"}}, "after pack, split"),
    ],
)
def test_snakemakes_reason_in_a_few_words(
    tmp_path: Path, given: dict[str, Any], expected: str
) -> None:
    assert reason(tmp_path, **given) == expected


def test_an_option_is_named_where_inputs_change_too(tmp_path: Path) -> None:
    change = SimpleNamespace(only_old=as_kept({"a": 1}), only_new=as_kept({"a": 2}))
    assert reason(tmp_path, change, updated_input_run={"b"}) == "a changed from 1 to 2"
