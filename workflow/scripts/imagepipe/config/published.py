"""The record of what the submission at the top of the working directory was made from."""

import json
from collections.abc import Mapping
from pathlib import Path

from imagepipe.files import file_hash, write_text


def write_record(record: Path, submission: Path, made_from: Mapping[str, object]) -> None:
    """Write what a submission was made from (`dataset`, `run` and `seeds`), and its hash."""
    content = {**made_from, "sha256": file_hash(submission)}
    write_text(record, json.dumps(content, indent=2, sort_keys=True) + "\n")


def is_made_from(record: Path, submission: Path, made_from: Mapping[str, object]) -> bool:
    """Return whether a submission is there and, by its record, was made from this."""
    try:
        known = json.loads(record.read_text(encoding="utf-8"))
        return bool(known == {**made_from, "sha256": file_hash(submission)})
    except (OSError, ValueError):
        return False


def describe_earlier(record: Path, submission: Path) -> str:
    """Return a line that says from which earlier call a submission is."""
    try:
        known = json.loads(record.read_text(encoding="utf-8"))
        if known["sha256"] == file_hash(submission):
            return (
                f"{submission} is still from an earlier call: "
                f"dataset {known['dataset']}, run {known['run']}"
            )
    except (OSError, ValueError, KeyError, TypeError):
        pass  # no record, or a damaged one
    return f"{submission} is from before this call"
