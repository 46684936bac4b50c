"""The state of an unfinished training, in a folder that outlives a failed job."""

import hashlib
import io
import logging
import os
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from imagepipe.files import atomic_write

logger = logging.getLogger(__name__)

# Tensors, numbers, text, and lists and dictionaries of them.
CheckpointState = dict[str, Any]

FILE_NAME = "checkpoint.pt"
HASH_BYTES = hashlib.sha256().digest_size


def save(folder: Path, state: CheckpointState, fingerprint: str) -> None:
    """Write a checkpoint; a kill at any moment leaves either the old one or the new one whole.

    The file ends with the SHA-256 of what precedes it, as PyTorch does not verify what it reads.
    Raises `OSError`, such as that of a full disk, and then leaves the old checkpoint alone.
    """
    path = folder / FILE_NAME
    try:
        with atomic_write(path) as temporary, temporary.open("w+b") as file:
            torch.save({"fingerprint": fingerprint, "state": state}, file)
            file.seek(0)
            content_hash = hashlib.file_digest(file, "sha256").digest()
            file.write(content_hash)
            file.flush()
            os.fsync(file.fileno())
    except (OSError, RuntimeError) as error:
        # PyTorch reports a failed write as an error of its own, with the cause as its context.
        cause = error.__context__ if isinstance(error, RuntimeError) else error
        if isinstance(cause, OSError):
            # The error of a failed write does not name the file.
            raise OSError(cause.errno, cause.strerror, str(path)) from None
        raise


def load(folder: Path, fingerprint: str) -> CheckpointState | None:
    """Return the state of a checkpoint, or None if there is none for this fingerprint.

    A checkpoint that is damaged, or belongs to another recipe, seed, code or data, is renamed to
    checkpoint.pt.unusable, with a warning in the log. Code in it is never run.
    """
    path = folder / FILE_NAME
    if not path.is_file():
        return None
    try:
        saved_fingerprint, state = read(path)
        if saved_fingerprint == fingerprint:
            return state
        reason = "belongs to another recipe, seed, code or data"
    except (OSError, RuntimeError, ValueError, TypeError, LookupError, UnpicklingError) as error:
        reason = f"cannot be read ({type(error).__name__})"
    aside = path.with_name(f"{FILE_NAME}.unusable")
    os.replace(path, aside)
    logger.warning("%s %s: it is set aside as %s, and training starts anew", path, reason, aside)
    return None


def read(path: Path) -> tuple[str, CheckpointState]:
    """Return the fingerprint and the state of a checkpoint; another file raises any of many errors.

    Code in the file is never run.
    """
    whole = memoryview(path.read_bytes())
    saved, saved_hash = whole[:-HASH_BYTES], whole[-HASH_BYTES:]
    if hashlib.sha256(saved).digest() != saved_hash:
        raise ValueError("its checksum is wrong")
    content = torch.load(io.BytesIO(saved), map_location="cpu", weights_only=True)
    return content["fingerprint"], content["state"]


def remove(folder: Path) -> None:
    """Remove a checkpoint, once its training has written its results."""
    for path in list(folder.glob(f"*{FILE_NAME}*")):
        path.unlink(missing_ok=True)
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
