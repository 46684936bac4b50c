"""The record of the run behind the submission at the top of the working directory."""

import json
from collections.abc import Mapping
from pathlib import Path

from imagepipe.files import file_hash, write_text


def write_record(record: Path, submission: Path, made_from: Mapping[str, object]) -> None:
    """Record a submission's origin (`dataset`, `run` and `seeds`) and its hash."""
    content = {**made_from, "sha256": file_hash(submission)}
    write_text(record, json.dumps(content, indent=2, sort_keys=True) + "\n")


def is_made_from(record: Path, submission: Path, made_from: Mapping[str, object]) -> bool:
    """Return whether the submission exists and its record says that it was made from this."""
    try:
        known = json.loads(record.read_text(encoding="utf-8"))
        return bool(known == {**made_from, "sha256": file_hash(submission)})
    except (OSError, ValueError):
        return False


def describe_earlier(record: Path, submission: Path) -> str:
    """Return a line that names the earlier call behind a submission."""
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
