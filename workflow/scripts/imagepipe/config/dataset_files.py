"""The locations of a dataset's files, which the rules need before any job runs."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from imagepipe.config.dataset import Contents, Dataset, Source
from imagepipe.errors import UserError


def table_names(dataset: Dataset) -> list[str]:
    """Return the names of the tables that `labels` reads, without repetition."""
    sections = (dataset.labels, dataset.test_ids, dataset.split)
    names = [getattr(section, "file", None) for section in sections]
    return list(dict.fromkeys(name for name in (*names, dataset.sample_submission) if name))


def sources_in(raw_dir: Path, source: Source) -> list[Path]:
    """Return the existing files in a user's folder that `fetch` reads.

    These are the dataset's files, or its bundle if that exists and one of them is missing.
    """
    files = [raw_dir / file.name for file in source.files]
    bundle = raw_dir / source.bundle if source.bundle else None
    if bundle is not None and bundle.is_file() and not all(file.is_file() for file in files):
        return [bundle]
    return [file for file in files if file.is_file()]


def image_folders(folder: Path, source: Source | Contents) -> list[Path]:
    """Return the image folders of a dataset with the source `folder`."""
    names = (source.train_folder, source.test_folder)
    return [folder / name for name in names if name is not None]


def state_of_images(raw_dir: Path, source: Source) -> str:
    """Return a hash of the names, sizes and times of a user's image files.

    It changes with each of them; the modification time of their folder does not.
    """
    state = hashlib.sha256()
    for folder in image_folders(raw_dir, source):
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                status = path.stat()
                state.update(f"{path}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return state.hexdigest()


def refuse_own_folder(raw_dir: Path, source: Source, folders: Sequence[Path]) -> None:
    """Raise `UserError` if the user's files are in one of the workflow's own folders.

    The files would be lost there, since a stage's results are removed before it reruns. Links are
    followed.
    """
    for path in (raw_dir, *sources_in(raw_dir, source)):
        for folder in folders:
            if path.resolve().is_relative_to(folder.resolve()):
                raise UserError(
                    f"raw_dir: {path} is in {folder}, where the workflow puts its own files; "
                    "move yours to another folder"
                )
