"""What a dataset's archives or folders hold: the images of each split, and tables.

A file that is found gets a place: "train/1.png" for an image, the file's name for a table.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from imagepipe.archives.parts import Part
from imagepipe.archives.readers import checked, is_archive, parts_of
from imagepipe.archives.toronto import toronto_parts
from imagepipe.config.dataset_files import image_folders
from imagepipe.dataset.manifests import SPLITS
from imagepipe.errors import UserError, quoted
from imagepipe.texts import first_repeated

# No image of a competition of small images comes near it.
LARGEST_IMAGE = 1 << 26


@dataclass(frozen=True)
class PlacedPart:
    """A part of an archive, and what gives the place of each of its files by the file's name."""

    part: Part
    place: Callable[[str], str | None]

    def size(self) -> int:
        """Return the bytes of all its files, as far as they are known before they are read."""
        return sum(size or 0 for size in self.part.sizes)

    def places(self) -> Iterator[str]:
        """Yield the place of each file."""
        for name in self.part.names:
            place = self.place(name)
            assert place is not None  # or the file would not be in the part
            yield place

    def read(self) -> Iterator[tuple[str, bytes, int]]:
        """Yield (place, content, CRC-32) of each file."""
        for place, (_, content, checksum) in zip(self.places(), checked(self.part), strict=True):
            yield place, content, checksum


def find_images(dataset: dict[str, Any], raw: Path) -> list[PlacedPart]:
    """Return all images that the dataset's files in `raw` hold, in parts to be read side by side.

    Raises `UserError` for an archive that cannot be read or trusted (see `archives.parts_of`), for
    an image that is there twice, and for a split without images.
    """
    found: list[PlacedPart] = []
    for source in sources_of(dataset, raw):
        if dataset["archive_format"] == "cifar_python":
            parts = toronto_parts(source, dataset["image_size"])
            found += [PlacedPart(part, str) for part in parts]
        else:
            splits = {dataset[f"{split}_folder"]: split for split in SPLITS}
            found += placed_parts(source, Placing(source, f".{dataset['image_extension']}", splits))
    splits_found = check_places(found)
    for split in SPLITS:
        if split not in splits_found:
            raise UserError(
                f"{raw}: the archives hold no .{dataset['image_extension']} image in a folder "
                f"{dataset[f'{split}_folder']!r}; correct image_extension or {split}_folder in "
                "the dataset file"
            )
    return found


def find_tables(dataset: dict[str, Any], raw: Path, names: Collection[str]) -> list[PlacedPart]:
    """Return the tables of some names that the archives of image files in `raw` hold.

    Raises `UserError` as `find_images` does.
    """
    found: list[PlacedPart] = []
    for source in sources_of(dataset, raw):
        found += placed_parts(source, lambda name: table_place(name, names))
    check_places(found)
    return found


def table_place(name: str, names: Collection[str]) -> str | None:
    """Return the place of a file in an archive if it is a table of one of some names."""
    base = name.rpartition("/")[2]
    return base if base in names else None


def placed_parts(source: Path, place: Callable[[str], str | None]) -> list[PlacedPart]:
    """Return the parts of one archive or folder with the files that have a place."""
    return [PlacedPart(part, place) for part in parts_of(source, lambda n: place(n) is not None)]


def sources_of(dataset: dict[str, Any], raw: Path) -> list[Path]:
    """Return the archives, or the folders of images, that a dataset's files are."""
    if dataset["source"] == "folder":
        return image_folders(raw, dataset)
    return [raw / file["name"] for file in dataset["files"] if is_archive(file["name"])]


def split_of(source: Path, folder: str, split_folders: Mapping[str, str]) -> str | None:
    """Return the split of the files in a folder: that of its nearest part with a split's name.

    The source's own name, an archive's without its endings, counts as the outermost folder. So
    `1.png`, `train/1.png` and `train/train/1.png` in train.7z are all images of the split train.
    """
    outermost = source.name if source.is_dir() else source.name.split(".")[0]
    folders = (outermost, *folder.split("/"))
    return next((split_folders[name] for name in reversed(folders) if name in split_folders), None)


def check_places(placed: Sequence[PlacedPart]) -> set[str]:
    """Return the splits of which there are images.

    Raises `UserError` if two files have one place, and for an image whose name cannot be an id, or
    that is far too large. Two names that differ in case only are one file on some file systems.
    """
    splits: set[str] = set()

    def checked_places() -> Iterator[str]:
        for part in placed:
            for place, size in zip(part.places(), part.part.sizes, strict=True):
                split, _, name = place.rpartition("/")
                if split:
                    check_image(part.part.archive, name, size)
                splits.add(split)
                yield place.casefold()

    position = first_repeated(checked_places, sum(len(part.part.names) for part in placed))
    if position is not None:
        found = ((part, place) for part in placed for place in part.places())
        part, place = next(islice(found, position, None))
        split, _, name = place.rpartition("/")
        what = f"two {split} images have" if split else "two tables have"
        raise UserError(
            f"{part.part.archive}: {what} the name {quoted(name)}; remove one from the archive"
        )
    return splits


def check_image(source: Path, name: str, size: int | None) -> None:
    """Raise `UserError` for an image whose name cannot be an id, or that is far too large."""
    image_id = name.rpartition(".")[0]
    if not image_id or image_id != image_id.strip():
        raise UserError(
            f"{source}: the image {quoted(name)} has no name before its ending, or a space around "
            "it; rename it"
        )
    if size is not None and size > LARGEST_IMAGE:
        raise UserError(
            f"{source}: {quoted(name)} unpacks to {size:,} bytes; it is no image, so remove it"
        )


@dataclass(frozen=True)
class Placing:
    """Gives an image file's place by its name, or None for any other file.

    `suffix` is that of images, `split_folders` has the split of each folder that has one.
    """

    source: Path
    suffix: str
    split_folders: Mapping[str, str]
    known: dict[str, str | None] = field(default_factory=dict)

    def __call__(self, name: str) -> str | None:
        folder, _, base = name.rpartition("/")
        # "._1.png" is what macOS adds to archives beside 1.png.
        is_image = base.endswith(self.suffix) or base.lower().endswith(self.suffix)
        if not is_image or base.startswith("._"):
            return None
        if folder not in self.known:
            self.known[folder] = split_of(self.source, folder, self.split_folders)
        split = self.known[folder]
        return split and f"{split}/{base}"
