"""The locations of a dataset's files, which the rules need before any job runs."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from imagepipe.config.dataset import Contents, Dataset, Source
from imagepipe.errors import UserError
from imagepipe.files import files_below, is_image

# The folder of `linked_folders`.
LINKS = ".images"


def table_names(dataset: Dataset) -> list[str]:
    """Return the names of the tables that `labels` and `form` read, without repetition."""
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


def image_folders(raw_dir: Path, source: Source) -> dict[str, Path]:
    """Return a user's folders of training and, if they are apart, of test images."""
    folders = {"train": raw_dir / source.train_folder}
    if source.test_folder is not None:
        folders["test"] = raw_dir / source.test_folder
    return folders


def linked_folders(raw: Path, source: Source | Contents) -> dict[str, Path]:
    """Return the links in `raw` to a user's folders of training and test images."""
    names = ("train",) if source.test_folder is None else ("train", "test")
    return {name: raw / LINKS / name for name in names}


def image_files(folders: Mapping[str, Path]) -> dict[str, list[str]]:
    """Return the paths of the images below each folder, sorted.

    A folder inside of another one, as test in ".", is not part of that. Raises `UserError` for
    links that cannot be followed (see `files_below`).
    """
    real = {name: folder.resolve() for name, folder in folders.items()}
    return {
        name: list(
            filter(is_image, files_below(folder, [real[other] for other in real if other != name]))
        )
        for name, folder in folders.items()
    }


def state_of_images(raw_dir: Path, source: Source) -> str:
    """Return a hash of the names, sizes and times of a user's image files.

    It changes with each of them; the modification time of their folder does not.
    """
    state = hashlib.sha256()
    folders = image_folders(raw_dir, source)
    try:
        for name, files in image_files(folders).items():
            for file in files:
                status = (folders[name] / file).stat()
                line = f"{folders[name]}/{file}\0{status.st_size}\0{status.st_mtime_ns}\n"
                state.update(os.fsencode(line))
    except (UserError, OSError) as error:  # the stage `fetch` or `extract` says so
        state.update(str(error).encode(errors="surrogateescape"))
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
