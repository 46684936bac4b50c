"""Bringing a dataset's files together in one folder: generated, downloaded, or the user's own."""

import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from imagepipe.archives.zip import copy_from_zip
from imagepipe.config.dataset_files import image_folders, refuse_own_folder, sources_in
from imagepipe.errors import UserError
from imagepipe.files import copy_whole, file_hash, write_text
from imagepipe.sources.downloading import PATIENCE, Patience, difference, download
from imagepipe.sources.first_use import check_first_use
from imagepipe.sources.kaggle_command import download_competition
from imagepipe.sources.sample_images import write_sample

logger = logging.getLogger(__name__)


def fetch(
    dataset: dict[str, Any],
    raw_dir: Path | None,
    folder: Path,
    downloads: Path,
    record: Path,
    patience: Patience = PATIENCE,
) -> None:
    """Put the files that a dataset file lists into `folder`, and their hashes into SHA256SUMS.

    With `raw_dir` they are symbolic links to the user's own files there, which are only ever read
    (copies where links are refused). A download that is broken off stays in `downloads`, for the
    next call to carry on with. The hashes of downloads that have no checksum in the dataset file
    are kept in `record`. Raises `UserError` for a file that is missing or cannot be downloaded, and
    for a download whose size or checksum is not the one of the dataset file, or of the record; for
    the user's own files such a difference is a warning, as people repack archives.
    """
    if raw_dir is not None:
        refuse_own_folder(raw_dir, dataset, [folder, downloads])
    folder.mkdir(parents=True, exist_ok=True)
    files: list[dict[str, Any]] = dataset["files"]
    sums = folder / "SHA256SUMS"
    for path in (sums, *(folder / file["name"] for file in files)):
        path.unlink(missing_ok=True)
    if raw_dir is not None:
        take_from(raw_dir, dataset, folder)
    elif dataset["source"] == "generated":
        write_sample(folder)
    else:
        with claimed(downloads):
            if dataset["source"] == "kaggle":
                take_from_kaggle(dataset, folder, downloads, record)
            else:
                take_from_urls(files, folder, downloads, record, patience)
    hashes = (f"{file_hash(folder / file['name'])}  {file['name']}\n" for file in files)
    write_text(sums, "".join(hashes))


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Keep a folder of downloads for this process until the block ends.

    A second one, as when Snakemake was killed and called again while its job goes on, would spoil
    what the first writes. The system drops the lock when the process ends, however it ends.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / "lock")
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise UserError(
            f"{folder}: another process is still downloading into it; wait until it is done, or "
            "end it"
        ) from None
    try:
        yield
    finally:
        lock.release()


def take_from_urls(
    files: list[dict[str, Any]], folder: Path, downloads: Path, record: Path, patience: Patience
) -> None:
    """Download each file from its own address, and give it its name when it is found right."""
    for file in files:
        path = download(file, downloads, patience)
        with dropped_if_refused(path):
            compare_with_first_use([file], {file["name"]: path}, record)
        os.replace(path, folder / file["name"])


def take_from_kaggle(dataset: dict[str, Any], folder: Path, downloads: Path, record: Path) -> None:
    """Download a competition's files, in one bundle, and name them when all are found right."""
    competition = dataset["competition"]
    if competition is None:
        raise UserError(
            "competition: the dataset file names none; add the last part of its address, or set "
            "raw_dir"
        )
    bundle = download_competition(competition, downloads)
    unpacked = {file["name"]: downloads / "unpacked" / file["name"] for file in dataset["files"]}
    try:
        with dropped_if_refused(bundle):
            copy_from_zip(bundle, list(unpacked), downloads / "unpacked")
        # Here the names are to be corrected, and the bundle need not come again.
        refuse_missing(bundle, list(unpacked.values()))
        with dropped_if_refused(bundle):
            for file in dataset["files"]:
                problem = difference(unpacked[file["name"]], file)
                if problem:
                    raise UserError(
                        f"competition {competition}: {file['name']} {problem}; nothing was kept: "
                        "try again later, or correct the dataset file"
                    )
            compare_with_first_use(dataset["files"], unpacked, record)
        for name, path in unpacked.items():
            os.replace(path, folder / name)
        bundle.unlink()
    finally:
        shutil.rmtree(downloads / "unpacked", ignore_errors=True)


@contextmanager
def dropped_if_refused(path: Path) -> Iterator[None]:
    """Remove a download for which the block raises `UserError`, so that it comes anew."""
    try:
        yield
    except UserError:
        path.unlink()
        raise


def compare_with_first_use(
    files: list[dict[str, Any]], paths: dict[str, Path], record: Path
) -> None:
    """Compare those files that have no checksum with their hashes at the first use."""
    names = [file["name"] for file in files if file["checksum"] is None]
    if names:
        check_first_use({name: paths[name] for name in names}, record)


def take_from(raw_dir: Path, dataset: dict[str, Any], folder: Path) -> None:
    """Link the files of a user's folder into `folder`, or unpack them from its bundle."""
    if not raw_dir.is_dir():
        raise UserError(
            f"raw_dir: {raw_dir.absolute()} is not a folder; correct the path (a relative one "
            "starts at the working directory)"
        )
    names = [file["name"] for file in dataset["files"]]
    sources = sources_in(raw_dir, dataset)
    if [source.name for source in sources] == [dataset["bundle"]]:
        unpack_bundle(sources[0], names, folder)
    else:
        missing = [name for name in names if raw_dir / name not in sources]
        if missing:
            bundle = f" (or {dataset['bundle']})" if dataset["bundle"] else ""
            raise UserError(
                f"{raw_dir / missing[0]}: the file does not exist{bundle}; "
                f"raw_dir must hold {', '.join(names)}"
            )
        for source in sources:
            link_or_copy(source.resolve(), folder / source.name)
    if dataset["source"] == "folder":
        link_image_folders(raw_dir, dataset, folder)
    for file in dataset["files"]:
        problem = difference(folder / file["name"], file)
        if problem:
            logger.warning("%s: %s; it is used as it is", raw_dir / file["name"], problem)


def link_image_folders(raw_dir: Path, dataset: dict[str, Any], folder: Path) -> None:
    """Make symbolic links to a user's folders of images.

    They are no outputs of the stage, so nobody but `extract` sees them, which only reads.
    """
    sources = image_folders(raw_dir, dataset)
    names = " and ".join(source.name for source in sources)
    for source, target in zip(sources, image_folders(folder, dataset), strict=True):
        if not source.is_dir():
            raise UserError(f"{source}: is not a folder; raw_dir must hold {names}")
        target.unlink(missing_ok=True)
        os.symlink(source.resolve(), target, target_is_directory=True)


def link_or_copy(source: Path, target: Path) -> None:
    """Make a symbolic link to a user's file, or a copy where the file system has no links."""
    try:
        os.symlink(source, target)
    except OSError:
        copy_whole(source, target)


def unpack_bundle(bundle: Path, names: list[str], folder: Path) -> None:
    """Write the files of a dataset, which its bundle holds, into `folder`."""
    copy_from_zip(bundle, names, folder)
    refuse_missing(bundle, [folder / name for name in names])


def refuse_missing(bundle: Path, unpacked: list[Path]) -> None:
    """Raise `UserError` if one of the files that a bundle was to hold has not come out of it."""
    for path in unpacked:
        if not path.is_file():
            raise UserError(
                f"{bundle}: holds no {path.name}; correct the name in the dataset file, or get the "
                "bundle again"
            )
