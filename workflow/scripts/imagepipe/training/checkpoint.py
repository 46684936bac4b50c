"""The state of an unfinished training, kept in a folder that outlives a failed job."""

import hashlib
import io
import logging
import os
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, BinaryIO, cast

import torch

logger = logging.getLogger(__name__)

FILE_NAME = "checkpoint.pt"
DIGEST_BYTES = hashlib.sha256().digest_size


def save(folder: Path, state: dict[str, Any], fingerprint: str) -> None:
    """Write a checkpoint, so that a kill at any moment leaves the old one or the new one whole.

    `state` holds tensors, numbers, text, and lists and dictionaries of them. The file begins with
    the SHA-256 of what follows, as PyTorch does not check what it reads. Raises `OSError`, such as
    that of a full disk, and leaves the old checkpoint alone then.
    """
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f"{FILE_NAME}.part"
    try:
        with temporary.open("wb") as file:
            file.write(bytes(DIGEST_BYTES))
            hashing = _HashingWriter(file)
            torch.save({"fingerprint": fingerprint, "state": state}, cast(BinaryIO, hashing))
            file.seek(0)
            file.write(hashing.hash.digest())
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, folder / FILE_NAME)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        # PyTorch reports a write that failed as an error of its own, with the cause as its context.
        cause = error.__context__ if isinstance(error, RuntimeError) else error
        if isinstance(cause, OSError):
            # A failed write does not say of itself which file it was.
            raise OSError(cause.errno, cause.strerror, str(folder / FILE_NAME)) from None
        raise


class _HashingWriter:
    """A file to write to, which hashes what goes through it."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.hash = hashlib.sha256()

    def write(self, content: bytes) -> int:
        self.hash.update(content)
        return self.file.write(content)

    def flush(self) -> None:
        self.file.flush()


def load(folder: Path, fingerprint: str) -> dict[str, Any] | None:
    """Return the state of a checkpoint, or None if there is none for this fingerprint.

    A checkpoint that is damaged, or that belongs to another recipe, seed, code or data, is renamed
    to checkpoint.pt.unusable, with a line in the log. No code in it is ever run.
    """
    path = folder / FILE_NAME
    if not path.is_file():
        return None
    try:
        content = _read(path)
        if content["fingerprint"] == fingerprint:
            state: dict[str, Any] = content["state"]
            return state
        reason = "belongs to another recipe, seed, code or data"
    except (OSError, RuntimeError, ValueError, TypeError, LookupError, UnpicklingError) as error:
        reason = f"cannot be read ({type(error).__name__})"
    aside = path.with_name(f"{FILE_NAME}.unusable")
    os.replace(path, aside)
    logger.warning("%s %s: it is set aside as %s, and training starts anew", path, reason, aside)
    return None


def _read(path: Path) -> Any:
    content = memoryview(path.read_bytes())
    digest, content = content[:DIGEST_BYTES], content[DIGEST_BYTES:]
    if hashlib.sha256(content).digest() != digest:
        raise ValueError("its checksum is wrong")
    return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)


def remove(folder: Path) -> None:
    """Remove a checkpoint once the results of its training stand."""
    for path in list(folder.glob(f"{FILE_NAME}*")):
        path.unlink(missing_ok=True)
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
