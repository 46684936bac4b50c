"""Unpacking a dataset's archives into one flat folder of images for each split."""

import threading
import zlib
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from imagepipe.archives import is_archive, read_members
from imagepipe.errors import UserError
from imagepipe.files import natural_key, write_rows, written_whole
from imagepipe.manifests import MANIFEST_COLUMNS, SPLITS
from imagepipe.toronto import read_toronto


def extract(dataset: dict[str, Any], raw: Path, folder: Path, tables: dict[str, Path]) -> None:
    """Unpack the archives in `raw` into `folder`/train and `folder`/test, and list the images.

    `tables` says where each CSV file goes, by its name; they may lie beside the archives or inside
    of one. `folder`/manifest.tsv gets a row for each image: its path below `folder`, its size in
    bytes and the CRC-32 of its content. Raises `UserError` for an archive that cannot be read or
    trusted, an image name that occurs twice, and a split or a table that is nowhere.
    """
    images = ImageStore(folder)
    for split in SPLITS:
        (folder / split).mkdir(parents=True, exist_ok=True)
    for name in (file["name"] for file in dataset["files"]):
        path = raw / name
        if not is_archive(name):
            if name in tables:
                _write(tables[name], path.read_bytes())
        elif dataset["archive_format"] == "cifar_python":
            read_toronto(path, partial(images.add, path), dataset["image_size"], tables)
        else:
            _unpack_images(path, dataset, images, tables)
    for split in SPLITS:
        if not images.of_split(split):
            raise UserError(
                f"{raw}: the archives hold no .{dataset['image_extension']} image in a folder "
                f"{dataset[f'{split}_folder']!r}; correct image_extension or {split}_folder in "
                "the dataset file"
            )
    for name, target in tables.items():
        if not target.is_file():
            raise UserError(
                f"{raw}: holds no {name}, beside the archives or inside of one; get the files again"
            )
    write_rows(folder / "manifest.tsv", MANIFEST_COLUMNS, images.manifest(), delimiter="\t")


class ImageStore:
    """Writes images as `folder`/split/file and remembers their sizes and checksums."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.entries: dict[tuple[str, str], tuple[str, int, int]] = {}
        self.lock = threading.Lock()

    def add(self, archive: Path, split: str, file_name: str, content: bytes) -> None:
        """Write an image of an archive; raise `UserError` if the split has one of that name."""
        # Two names that differ in case only are one file on some file systems.
        key = (split, file_name.casefold())
        with self.lock:
            if key in self.entries:
                raise UserError(
                    f"{archive}: two {split} images have the name {file_name!r}; "
                    "remove one from the archive"
                )
            self.entries[key] = (file_name, len(content), zlib.crc32(content))
        (self.folder / split / file_name).write_bytes(content)

    def of_split(self, split: str) -> list[tuple[str, int, int]]:
        """Return (file name, bytes, CRC-32) of a split's images in natural order."""
        entries = [entry for (owner, _), entry in self.entries.items() if owner == split]
        return sorted(entries, key=lambda entry: natural_key(entry[0]))

    def manifest(self) -> list[tuple[str, int, str]]:
        """Return the rows of the manifest, without the header."""
        return [
            (f"{split}/{name}", size, f"{crc:08x}")
            for split in SPLITS
            for name, size, crc in self.of_split(split)
        ]


def split_of(archive: Path, member: PurePosixPath, split_folders: dict[str, str]) -> str | None:
    """Return the split of an archive's member: that of its nearest folder with a split's name.

    The archive's own name, without its endings, counts as the outermost folder. So `1.png`,
    `train/1.png` and `train/train/1.png` in train.7z are all images of the split train.
    """
    folders = (archive.name.split(".")[0], *member.parent.parts)
    for folder in reversed(folders):
        if folder in split_folders:
            return split_folders[folder]
    return None


def _unpack_images(
    archive: Path, dataset: dict[str, Any], images: ImageStore, tables: dict[str, Path]
) -> None:
    split_folders = {dataset[f"{split}_folder"]: split for split in SPLITS}
    suffix = f".{dataset['image_extension']}"

    def is_image(member: PurePosixPath) -> bool:
        # "._1.png" is what macOS adds to archives beside 1.png.
        return member.suffix.lower() == suffix and not member.name.startswith("._")

    def wanted(member: PurePosixPath) -> bool:
        return is_image(member) or member.name in tables

    def receive(member: PurePosixPath, content: bytes) -> None:
        if not is_image(member):
            _write(tables[member.name], content)
        elif (split := split_of(archive, member, split_folders)) is not None:
            images.add(archive, split, member.name, content)

    read_members(archive, wanted, receive)


def _write(target: Path, content: bytes) -> None:
    with written_whole(target) as temporary:
        temporary.write_bytes(content)
