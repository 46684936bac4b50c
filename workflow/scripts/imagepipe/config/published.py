"""The record of whose submission lies at the top of the working directory."""

import json
from pathlib import Path
from typing import Any

from imagepipe.files import file_hash, write_text


def write_record(record: Path, submission: Path, made_of: dict[str, Any]) -> None:
    """Write what a submission was made of (`dataset`, `run` and `seeds`), and its hash."""
    content = made_of | {"sha256": file_hash(submission)}
    write_text(record, json.dumps(content, indent=2, sort_keys=True) + "\n")


def is_of(record: Path, submission: Path, made_of: dict[str, Any]) -> bool:
    """Say whether a submission is there that was made of this, by what `write_record` wrote."""
    try:
        known = json.loads(record.read_text(encoding="utf-8"))
        return bool(known == made_of | {"sha256": file_hash(submission)})
    except (OSError, ValueError):
        return False


def whose(record: Path, submission: Path) -> str:
    """Say, for one line, of which earlier call a submission is."""
    try:
        known = json.loads(record.read_text(encoding="utf-8"))
        if known["sha256"] == file_hash(submission):
            return (
                f"{submission} is still that of an earlier call: "
                f"dataset {known['dataset']}, run {known['run']}"
            )
    except (OSError, ValueError, KeyError, TypeError):
        pass  # without a record, or with a damaged one, nothing is known
    return f"{submission} is from before this call"
