"""Where the files of a dataset lie, as the rules need to know it before any job runs."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from imagepipe.config.dataset import Contents, Dataset, Source
from imagepipe.errors import UserError

# The keys of a dataset file that name a table, apart from the labels'.
OTHER_TABLES = ("sample_submission", "true_labels")


def table_names(dataset: Dataset) -> dict[str, str]:
    """Return the names of the CSV files that a dataset has, by what they are."""
    names = {"labels": dataset.labels.file}
    return names | {
        table: getattr(dataset, table) for table in OTHER_TABLES if getattr(dataset, table)
    }


def sources_in(raw_dir: Path, dataset: Source) -> list[Path]:
    """Return the files of a user's folder that `fetch` reads, as far as they are there.

    They are the dataset's files, or its bundle if that is there and one of them is not.
    """
    files = [raw_dir / file.name for file in dataset.files]
    bundle = raw_dir / dataset.bundle if dataset.bundle else None
    if bundle is not None and bundle.is_file() and not all(file.is_file() for file in files):
        return [bundle]
    return [file for file in files if file.is_file()]


def image_folders(folder: Path, dataset: Source | Contents) -> list[Path]:
    """Return the folders in which a dataset whose source is `folder` has its images."""
    return [folder / dataset.train_folder, folder / dataset.test_folder]


def state_of_images(raw_dir: Path, dataset: Source) -> str:
    """Return a hash of the names, sizes and times of a user's image files.

    It changes when one of them does, which the time of their folder would not tell.
    """
    state = hashlib.sha256()
    for folder in image_folders(raw_dir, dataset):
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                status = path.stat()
                state.update(f"{path}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return state.hexdigest()


def refuse_own_folder(raw_dir: Path, dataset: Source, folders: Sequence[Path]) -> None:
    """Raise `UserError` if the user's files are in one of the folders that the workflow writes to.

    A stage's results are removed before it runs anew: the files would be lost. Their own places
    count, wherever links have led to them.
    """
    for path in (raw_dir, *sources_in(raw_dir, dataset)):
        for folder in folders:
            if path.resolve().is_relative_to(folder.resolve()):
                raise UserError(
                    f"raw_dir: {path} lies in {folder}, where the workflow puts its own files; "
                    "move yours to another folder"
                )
