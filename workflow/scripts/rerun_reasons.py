"""Short reasons why a job would run: the parts of Snakemake's reason that a user can act on."""

import ast
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

CODE_HASH = re.compile("[0-9a-f]{16}")
# Longer values are not shown, only that they changed.
LONGEST_VALUE = 40


def reason_in_short(dag: Any, job: Any) -> str:
    """Return the first applicable reason for a job of Snakemake's `dag` to run."""
    reason = dag.reason(job)
    if reason.forced:
        return "forced"
    # Snakemake's own reason omits this if it found another first.
    change = dag.workflow.persistence.params_changed(job)
    if change:
        return params_change(change.only_old, change.only_new)
    if reason.missing_output:
        if not any(Path(str(output)).exists() for output in job.output):
            return "not made yet"
        return f"{some_of(reason.missing_output)} missing"
    if reason.incomplete_output:
        return "it was interrupted"
    if reason.input_changed:
        return "it has other input files"
    updated = reason.updated_input - reason.updated_input_run
    if updated:
        return f"{some_of(updated)} newer"
    if reason.updated_input_run:
        before = {other.rule.name for other in dag.dependencies[job] if dag.needrun(other)}
        return f"after {', '.join(sorted(before))}"
    return str(reason)


def params_change(old: Iterable[str], new: Iterable[str]) -> str:
    """Say which options differ between two sets of a rule's params, as Snakemake stores them.

    Each param is the `repr` of the rule's options as JSON, or of its code hash.
    """
    before, after = list(map(_value, old)), list(map(_value, new))
    old_options, new_options = _options(before), _options(after)
    changes: list[str] = []
    # Outputs made at different times may have several sets of old options.
    if len(old_options) == len(new_options) == 1:
        changes += differences(old_options[0], new_options[0])
    elif old_options or new_options:
        changes.append("its options changed")
    if any(isinstance(value, str) and CODE_HASH.fullmatch(value) for value in before + after):
        changes.append("the code changed")
    return ", ".join(changes) or "its params changed"


def differences(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield a text for each option that differs: its dotted name, old value and new value."""
    for key in sorted(old.keys() | new.keys()):
        name = f"{prefix}{key}"
        before, after = old.get(key), new.get(key)
        if before == after:
            continue
        if isinstance(before, dict) and isinstance(after, dict):
            yield from differences(before, after, f"{name}.")
            continue
        shown = [json.dumps(value, ensure_ascii=False) for value in (before, after)]
        if max(map(len, shown)) <= LONGEST_VALUE:
            yield f"{name} changed from {shown[0]} to {shown[1]}"
        else:
            yield f"{name} changed"


def some_of(files: Iterable[str]) -> str:
    """Name the first of some files and count the others."""
    first, *others = sorted(map(str, files))
    return f"{first} and {len(others)} more are" if others else f"{first} is"


def _options(values: list[Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for value in values:
        try:
            decoded = json.loads(value)
        except (TypeError, ValueError):
            continue
        if isinstance(decoded, dict):
            found.append(decoded)
    return found


def _value(representation: str) -> Any:
    try:
        return ast.literal_eval(representation)
    except (SyntaxError, ValueError):
        return representation
