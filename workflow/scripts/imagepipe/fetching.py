"""Bringing a dataset's files together in one folder: generated, downloaded, or the user's own."""

import logging
import os
from pathlib import Path
from typing import Any

import requests

from imagepipe.archives import copy_from_zip
from imagepipe.dataset_files import refuse_own_folder, sources_in
from imagepipe.errors import UserError
from imagepipe.files import copy_whole, digest, write_text, written_whole
from imagepipe.progress import counter
from imagepipe.sample_images import write_sample

logger = logging.getLogger(__name__)

# (to connect, between two pieces of data), in seconds
DOWNLOAD_TIMEOUT = (20, 60)


def fetch(dataset: dict[str, Any], raw_dir: Path | None, folder: Path) -> None:
    """Put the files that a dataset file lists into `folder`, and their hashes into SHA256SUMS.

    With `raw_dir` they are symbolic links to the user's own files there, which are only ever read
    (copies where links are refused). Raises `UserError` for a file that is missing or cannot be
    downloaded, and for a download whose size or checksum is not the one of the dataset file; for
    the user's own files such a difference is a warning, as people repack archives.
    """
    if raw_dir is not None:
        refuse_own_folder(raw_dir, dataset, folder)
    folder.mkdir(parents=True, exist_ok=True)
    files: list[dict[str, Any]] = dataset["files"]
    for file in files:
        (folder / file["name"]).unlink(missing_ok=True)
    if raw_dir is not None:
        take_from(raw_dir, dataset, folder)
    elif dataset["source"] == "generated":
        write_sample(folder)
    else:
        for file in files:
            download(file, folder / file["name"])
    hashes = (f"{digest(folder / file['name'])}  {file['name']}\n" for file in files)
    write_text(folder / "SHA256SUMS", "".join(hashes))


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
    for file in dataset["files"]:
        problem = difference(folder / file["name"], file)
        if problem:
            logger.warning("%s: %s; it is used as it is", raw_dir / file["name"], problem)


def link_or_copy(source: Path, target: Path) -> None:
    """Make a symbolic link to a user's file, or a copy where the file system has no links."""
    try:
        os.symlink(source, target)
    except OSError:
        copy_whole(source, target)


def unpack_bundle(bundle: Path, names: list[str], folder: Path) -> None:
    """Write the files of a dataset, which its bundle holds, into `folder`."""
    copy_from_zip(bundle, names, folder)
    for name in names:
        if not (folder / name).is_file():
            raise UserError(f"{bundle}: holds no {name}; download it again")


def download(file: dict[str, Any], target: Path) -> None:
    """Download a file, check its size and checksum, and only then give it its name."""
    url = file["url"]
    if url is None:
        raise UserError(f"{file['name']}: the dataset file names no url; add one, or set raw_dir")
    with written_whole(target) as temporary:
        try:
            with (
                requests.get(url, stream=True, timeout=DOWNLOAD_TIMEOUT) as response,
                temporary.open("wb") as output,
            ):
                response.raise_for_status()
                length = response.headers.get("Content-Length")
                total = int(length) if length and length.isdecimal() else None
                with counter(
                    total=total, description=f"download {target.name}", unit="bytes"
                ) as bar:
                    for piece in response.iter_content(chunk_size=1 << 20):
                        output.write(piece)
                        bar.advance(len(piece))
        except requests.RequestException as error:
            raise UserError(
                f"{url}: the download failed ({type(error).__name__}); try again, or get "
                f"{target.name} yourself and set raw_dir to its folder"
            ) from None
        problem = difference(temporary, file)
        if problem:
            raise UserError(f"{url}: {problem}; nothing was kept: try again later")


def difference(path: Path, file: dict[str, Any]) -> str | None:
    """Say how a file differs from the size and checksum in the dataset file, if it does."""
    size = path.stat().st_size
    if file["bytes"] is not None and size != file["bytes"]:
        return f"has {size:,} bytes where {file['bytes']:,} are expected"
    if file["checksum"] is not None:
        algorithm, expected = file["checksum"].split(":")
        found = digest(path, algorithm)
        if found != expected:
            return f"has the {algorithm} {found} where {expected} is expected"
    return None
