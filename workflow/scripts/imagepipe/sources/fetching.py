"""A dataset's files, generated, downloaded or the user's own, in one folder."""

import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from imagepipe.archives.chunk import Listing
from imagepipe.archives.reading import is_archive, list_archive
from imagepipe.archives.safety import damage_in_one_line
from imagepipe.archives.unpacking import FOLDER, copy_members
from imagepipe.archives.zip import ZipListing
from imagepipe.config.dataset import Source
from imagepipe.config.dataset_files import (
    LINKS,
    image_folders,
    linked_folders,
    refuse_own_folder,
    sources_in,
    state_of_images,
)
from imagepipe.errors import UserError, nearest, quoted
from imagepipe.files import atomic_copy, file_hash, has_junk, write_text
from imagepipe.sources.downloading import (
    DEFAULT_RETRIES,
    RetryPolicy,
    claimed,
    difference,
    download,
    remove,
)
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
    retries: RetryPolicy = DEFAULT_RETRIES,
) -> None:
    """Put the files of a source into `folder`, and their hashes into SHA256SUMS there.

    For folders of images, it also has a hash of the images' names, sizes and times.

    From `raw_dir`, the user's own files are linked, or copied where links are refused; they are
    only read. `downloads` keeps an unfinished download for the next call, and `record` the hashes
    of downloads without a checksum in the dataset file. Raises `UserError` for a file that is
    missing, cannot be downloaded, or differs from its size, checksum or record. In a user's own
    file that is a warning, as people repack archives.
    """
    if raw_dir is not None:
        refuse_own_folder(raw_dir, source, [folder, downloads])
    folder.mkdir(parents=True, exist_ok=True)
    sums, paths = folder / "SHA256SUMS", [folder / file.name for file in source.files]
    for path in (sums, *paths):
        path.unlink(missing_ok=True)
    for name in (FOLDER, LINKS):  # of files that were here before
        shutil.rmtree(folder / name, ignore_errors=True)
    if raw_dir is not None:
        take_from_user(raw_dir, source, folder)
    elif source.source == "generated":
        write_sample(folder)
    else:
        with claimed(downloads):
            take = take_from_kaggle if source.source == "kaggle" else take_from_urls
            take(source, folder, downloads, record, retries)
    lines = [f"{file_hash(path)}  {path.name}\n" for path in paths]
    if raw_dir is not None and source.source == "folder":
        # Snakemake compares this file by its content.
        lines.append(f"{state_of_images(raw_dir, source)}  {LINKS}\n")
    write_text(sums, "".join(lines))


def take_from_urls(
    source: Source, folder: Path, downloads: Path, record: Path, retries: RetryPolicy
) -> None:
    """Download each file from its own url."""
    for file in source.files:
        path = download(file, downloads, retries)
        with removed_if_refused(path):
            check_first_use({} if file.checksum else {file.name: path}, record)
        os.replace(path, folder / file.name)


def take_from_kaggle(
    source: Source, folder: Path, downloads: Path, record: Path, retries: RetryPolicy
) -> None:
    """Download a competition's files, which come in one .zip file."""
    if source.competition is None:
        raise UserError(
            "competition: the dataset file has none; add the last part of its address, or set "
            "raw_dir"
        )
    bundle = download_competition(source.competition, downloads, retries)
    unpacked = downloads / "unpacked"
    unpacked.mkdir(parents=True, exist_ok=True)
    try:
        with removed_if_refused(bundle), damage_in_one_line(bundle):
            listing = ZipListing(bundle)
        # Not removed: the dataset file may have a wrong name, and the bundle be right.
        members = members_of_bundle(listing, source, f"{source.competition}.zip")
        with removed_if_refused(bundle):
            copy_members(listing, {member: unpacked / name for name, member in members.items()})
            # A file that is not in the bundle is the bundle itself.
            names = [file.name for file in source.files]
            paths = {name: unpacked / name if name in members else bundle for name in names}
            for file in source.files:
                if problem := difference(paths[file.name], file):
                    raise UserError(
                        f"competition {source.competition}: {file.name} {problem}; nothing was "
                        "kept: try again later, or correct the dataset file"
                    )
            unchecked = [file.name for file in source.files if not file.checksum]
            check_first_use({name: paths[name] for name in unchecked}, record)
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


def take_from_user(raw_dir: Path, source: Source, folder: Path) -> None:
    """Link the files in a user's folder into `folder`, or unpack them from the bundle there."""
    if not raw_dir.is_dir():
        raise UserError(
            f"raw_dir: {raw_dir.absolute()} is not a folder; correct the path (a relative one "
            "starts at the working directory)"
        )
    names = [file.name for file in source.files]
    found = sources_in(raw_dir, source)
    if [path.name for path in found] == [source.bundle] and names != [source.bundle]:
        listing = list_archive(found[0])
        members = members_of_bundle(listing, source, found[0].name)
        copy_members(listing, {member: folder / name for name, member in members.items()})
        for name in names:
            if name not in members:
                link_or_copy(found[0].resolve(), folder / name)
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
    """Make symbolic links to a user's folders of images, which only `extract` and `pack` read."""
    links = linked_folders(folder, source)
    for split, path in image_folders(raw_dir, source).items():
        if not path.is_dir():
            there = sorted(one.name for one in raw_dir.iterdir() if one.is_dir())
            found = f" (there are {', '.join(map(quoted, there[:6]))})" if there else ""
            raise UserError(
                f"{path}: is not a folder{found}; correct raw_dir, or {split}_folder in the "
                "dataset file"
            )
        links[split].parent.mkdir(exist_ok=True)
        os.symlink(path.resolve(), links[split], target_is_directory=True)


def link_or_copy(source: Path, target: Path) -> None:
    """Make a symbolic link to a user's file, or a copy where the file system has no links."""
    try:
        os.symlink(source, target)
    except OSError:
        atomic_copy(source, target)


def members_of_bundle(listing: Listing, source: Source, bundle_name: str) -> dict[str, str]:
    """Return the members of a bundle that are the source's files, by the files' names.

    The file that is the bundle itself is not among them: the one of its name, or a .zip file that
    it does not hold, if it holds no other archive of the source either. Raises `UserError` for a
    file that the bundle does not hold, or holds twice with equally many folders around it.
    """
    bundle = listing.archive
    places: dict[str, list[str]] = {}
    for member in listing.names:
        if not has_junk(member):
            places.setdefault(member.rpartition("/")[2], []).append(member)
    members: dict[str, str] = {}
    for name in (file.name for file in source.files):
        found = sorted(places.get(name, ()), key=lambda member: member.count("/"))
        if len(found) > 1 and found[0].count("/") == found[1].count("/"):
            raise UserError(f"{bundle}: two files have the name {name!r}; remove one")
        if found:
            members[name] = found[0]
    missing = [file.name for file in source.files if file.name not in members]
    if missing in ([bundle_name], [source.bundle]):
        return members
    if len(missing) == 1 and missing[0].endswith(".zip") and not any(map(is_archive, members)):
        return members
    if missing:
        raise UserError(
            f"{bundle}: holds no {missing[0]}{nearest(missing[0], list(places))}; correct the name "
            "in the dataset file, or get the bundle again"
        )
    return members
