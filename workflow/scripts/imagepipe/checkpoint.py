"""The state of an unfinished training, kept in a folder that outlives a failed job."""

import logging
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

logger = logging.getLogger(__name__)

FILE_NAME = "checkpoint.pt"


def save(folder: Path, state: dict[str, Any], fingerprint: str) -> None:
    """Write a checkpoint, so that a kill at any moment leaves the old one or the new one whole.

    `state` holds tensors, numbers, text, and lists and dictionaries of them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f"{FILE_NAME}.part"
    with temporary.open("wb") as file:
        torch.save({"fingerprint": fingerprint, "state": state}, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, folder / FILE_NAME)


def load(folder: Path, fingerprint: str) -> dict[str, Any] | None:
    """Return the state of a checkpoint, or None if there is none for this fingerprint.

    A checkpoint that cannot be read, or that belongs to another recipe, seed, code or data, is
    renamed to checkpoint.pt.unusable, with a line in the log. No code in it is ever run.
    """
    path = folder / FILE_NAME
    if not path.is_file():
        return None
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        if content["fingerprint"] == fingerprint:
            state: dict[str, Any] = content["state"]
            return state
        reason = "belongs to another recipe, seed, code or data"
    except (
        OSError,
        EOFError,
        RuntimeError,
        ValueError,
        TypeError,
        LookupError,
        pickle.UnpicklingError,
        zipfile.BadZipFile,
    ) as error:
        reason = f"cannot be read ({type(error).__name__})"
    aside = path.with_name(f"{FILE_NAME}.unusable")
    os.replace(path, aside)
    logger.warning("%s %s: it is set aside as %s, and training starts anew", path, reason, aside)
    return None


def remove(folder: Path) -> None:
    """Remove a checkpoint once the results of its training stand."""
    for path in (*folder.glob(f"{FILE_NAME}*"),):
        path.unlink(missing_ok=True)
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
