"""Hashes of downloads without a checksum: recorded at the first use, compared at each later one."""

import re
from collections.abc import Mapping
from pathlib import Path

from imagepipe.errors import UserError
from imagepipe.files import file_hash, write_text


def check_first_use(paths: Mapping[str, Path], record: Path) -> None:
    """Compare the SHA-256 of files, by their names, with those in `record`, and add new ones.

    The record has the format of `sha256sum`. Raises `UserError` if a hash differs, and if the
    record is damaged.
    """
    hashes = read_hashes(record)
    found = {name: file_hash(path) for name, path in paths.items()}
    for name, value in found.items():
        first = hashes.get(name, value)
        if first != value:
            raise UserError(
                f"{record}: {name} had the SHA-256 {first[:12]}… when it was first used, and the "
                f"new download has {value[:12]}…; nothing was kept: if the new one is right, "
                "remove its line there and call again"
            )
    if not found.keys() <= hashes.keys():
        write_text(record, "".join(f"{v}  {name}\n" for name, v in (hashes | found).items()))


def read_hashes(record: Path) -> dict[str, str]:
    """Return {file name: SHA-256} of a record, empty if there is none yet."""
    hashes: dict[str, str] = {}
    text = record.read_text(encoding="utf-8", errors="replace") if record.exists() else ""
    for row, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        match = re.fullmatch(r"([0-9a-f]{64})  (.+)", line)
        if match is None or match[2] in hashes:
            raise UserError(
                f"{record}: row {row}: is not a SHA-256 and the name of one more file; correct it, "
                "or remove the file to record the next download's hashes"
            )
        hashes[match[2]] = match[1]
    return hashes
