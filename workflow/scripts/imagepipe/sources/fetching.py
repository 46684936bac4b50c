"""A dataset's files, generated, downloaded or the user's own, in one folder."""

import logging
import os
import shutil
import signal
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from imagepipe.archives.readers import copy_from_zip
from imagepipe.config.dataset import Source, SourceFile
from imagepipe.config.dataset_files import image_folders, refuse_own_folder, sources_in
from imagepipe.errors import Stopped, UserError
from imagepipe.files import copy_whole, file_hash, write_text
from imagepipe.sources.downloading import PATIENCE, Patience, difference, download, remove
from imagepipe.sources.first_use import check_first_use
from imagepipe.sources.kaggle import download_competition
from imagepipe.sources.sample_images import write_sample

logger = logging.getLogger(__name__)


def fetch(
    source: Source,
    raw_dir: Path | None,
    folder: Path,
    downloads: Path,
    record: Path,
    patience: Patience = PATIENCE,
) -> None:
    """Put the files of a source into `folder`, and their hashes into SHA256SUMS there.

    From `raw_dir`, the user's own files, which are only read, are linked, or copied where links are
    refused. `downloads` keeps an interrupted download for the next call, `record` the hashes of
    downloads that have no checksum in the dataset file. Raises `UserError` for a file that is
    missing or cannot be downloaded, and for a download that differs from its size, checksum or
    record. For the user's own files a difference is a warning, as people repack archives.
    """
    if raw_dir is not None:
        refuse_own_folder(raw_dir, source, [folder, downloads])
    folder.mkdir(parents=True, exist_ok=True)
    sums = folder / "SHA256SUMS"
    paths = {file.name: folder / file.name for file in source.files}
    for path in (sums, *paths.values()):
        path.unlink(missing_ok=True)
    if raw_dir is not None:
        take_from_user(raw_dir, source, folder)
    elif source.source == "generated":
        write_sample(folder)
    else:
        with claimed(downloads):
            if source.source == "kaggle":
                take_from_kaggle(source, folder, downloads, record, patience)
            else:
                take_from_urls(source, folder, downloads, record, patience)
    write_text(sums, "".join(f"{file_hash(path)}  {name}\n" for name, path in paths.items()))


@contextmanager
def claimed(downloads: Path) -> Iterator[None]:
    """Keep other processes from a folder of downloads, and raise `Stopped` on SIGINT and SIGTERM.

    Another process is possible: Snakemake was killed and called again, and its job still runs.
    """
    downloads.mkdir(parents=True, exist_ok=True)
    lock = FileLock(downloads / "lock")
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise UserError(
            f"{downloads}: another process is downloading into it; wait for it, or end it"
        ) from None

    def stop(number: int, _: object) -> None:
        name = signal.Signals(number).name
        raise Stopped(f"stopped by {name} while downloading; call again to carry on", number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        lock.release()


def take_from_urls(
    source: Source, folder: Path, downloads: Path, record: Path, patience: Patience
) -> None:
    """Download each file from its own url."""
    for file in source.files:
        path = download(file, downloads, patience)
        with removed_if_refused(path):
            compare_with_first_use([file], {file.name: path}, record)
        os.replace(path, folder / file.name)


def take_from_kaggle(
    source: Source, folder: Path, downloads: Path, record: Path, patience: Patience
) -> None:
    """Download a competition's files, which come in one .zip file."""
    competition = source.competition
    if competition is None:
        raise UserError(
            "competition: the dataset file has none; add the last part of its address, or set "
            "raw_dir"
        )
    bundle = download_competition(competition, downloads, patience)
    unpacked = downloads / "unpacked"
    paths = {file.name: unpacked / file.name for file in source.files}
    try:
        with removed_if_refused(bundle):
            copy_from_zip(bundle, list(paths), unpacked)
        # Not removed: the dataset file has a wrong name, and the bundle may be right.
        refuse_missing(bundle, paths.values())
        with removed_if_refused(bundle):
            for file in source.files:
                if problem := difference(paths[file.name], file):
                    raise UserError(
                        f"competition {competition}: {file.name} {problem}; nothing was kept: "
                        "try again later, or correct the dataset file"
                    )
            compare_with_first_use(source.files, paths, record)
        for name, path in paths.items():
            os.replace(path, folder / name)
        remove(bundle)
    finally:
        shutil.rmtree(unpacked, ignore_errors=True)


@contextmanager
def removed_if_refused(path: Path) -> Iterator[None]:
    """Remove a download if the block raises `UserError`: the next call downloads it again."""
    try:
        yield
    except UserError:
        remove(path)
        raise


def compare_with_first_use(
    files: Sequence[SourceFile], paths: Mapping[str, Path], record: Path
) -> None:
    """Compare the files without a checksum with their hashes at the first use."""
    unchecked = {file.name: paths[file.name] for file in files if file.checksum is None}
    if unchecked:
        check_first_use(unchecked, record)


def take_from_user(raw_dir: Path, source: Source, folder: Path) -> None:
    """Link the files in a user's folder into `folder`, or unpack them from the bundle there."""
    if not raw_dir.is_dir():
        raise UserError(
            f"raw_dir: {raw_dir.absolute()} is not a folder; correct the path (a relative one "
            "starts at the working directory)"
        )
    names = [file.name for file in source.files]
    found = sources_in(raw_dir, source)
    if [path.name for path in found] == [source.bundle]:
        copy_from_zip(found[0], names, folder)
        refuse_missing(found[0], [folder / name for name in names])
    else:
        missing = [name for name in names if raw_dir / name not in found]
        if missing:
            bundle = f" (or {source.bundle})" if source.bundle else ""
            raise UserError(
                f"{raw_dir / missing[0]}: the file does not exist{bundle}; "
                f"raw_dir must hold {', '.join(names)}"
            )
        for path in found:
            link_or_copy(path.resolve(), folder / path.name)
    if source.source == "folder":
        link_image_folders(raw_dir, source, folder)
    for file in source.files:
        if problem := difference(folder / file.name, file):
            logger.warning("%s: %s; it is used as it is", raw_dir / file.name, problem)


def link_image_folders(raw_dir: Path, source: Source, folder: Path) -> None:
    """Make symbolic links to a user's folders of images.

    They are no outputs of the stage: only `extract` uses them, and only reads.
    """
    own = image_folders(raw_dir, source)
    names = " and ".join(path.name for path in own)
    for path, link in zip(own, image_folders(folder, source), strict=True):
        if not path.is_dir():
            raise UserError(f"{path}: is not a folder; raw_dir must hold {names}")
        link.unlink(missing_ok=True)
        os.symlink(path.resolve(), link, target_is_directory=True)


def link_or_copy(source: Path, target: Path) -> None:
    """Make a symbolic link to a user's file, or a copy where the file system has no links."""
    try:
        os.symlink(source, target)
    except OSError:
        copy_whole(source, target)


def refuse_missing(bundle: Path, unpacked: Iterable[Path]) -> None:
    """Raise `UserError` if a bundle lacks one of the files that were to be unpacked from it."""
    for path in unpacked:
        if not path.is_file():
            raise UserError(
                f"{bundle}: holds no {path.name}; correct the name in the dataset file, or get the "
                "bundle again"
            )
