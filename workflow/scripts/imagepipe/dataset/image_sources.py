"""Which images a dataset's archives or folders hold."""

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath

from imagepipe.archives.chunk import Chunk, Listing
from imagepipe.archives.folder import FolderListing
from imagepipe.archives.pixel_tables import pixel_chunks
from imagepipe.archives.reading import chunks_of, list_archive
from imagepipe.archives.toronto import toronto_chunks
from imagepipe.archives.unpacking import (
    MOST_LEVELS,
    archives_in,
    inner_archives,
    open_inner,
    usable,
)
from imagepipe.config.dataset import Contents
from imagepipe.config.dataset_files import image_files, linked_folders
from imagepipe.dataset.manifests import FOLDERS
from imagepipe.dataset.table_files import table_files
from imagepipe.errors import UserError, quoted
from imagepipe.files import has_junk, is_image, nfc

# Bytes. No image of a competition comes near it.
LARGEST_IMAGE = 1 << 28
SHOWN = 6


@dataclass(frozen=True)
class FoundFiles:
    """Images in a chunk of an archive, and the path that each gets when it is extracted.

    It is "train/1.png", or "train/cat/1.png" for an image in a folder below that of its split.
    """

    chunk: Chunk
    paths: list[str]

    def size(self) -> int:
        """Return the bytes of all files, as far as they are known before they are read."""
        return sum(size or 0 for size in self.chunk.sizes)


@dataclass(frozen=True)
class Images:
    """The names of the images in a listing, and their folders there.

    `around` are more folders, as which archives count.
    """

    listing: Listing
    names: list[str]
    inner: Set[str]
    around: str = ""

    def within(self, folder: str) -> "Images":
        """Return the same with another folder around all."""
        return Images(self.listing, self.names, self.inner, joined(folder, self.around))

    def folders(self) -> set[str]:
        """Return the folders of the images."""
        return {joined(self.around, folder) for folder in self.inner}


class Splits:
    """Tells training from test images by their folders."""

    def __init__(self, train_folder: str, test_folder: str | None) -> None:
        self.wanted = FOLDERS if test_folder is not None else FOLDERS[:1]
        parts = {"train": PurePosixPath(nfc(train_folder)).parts}
        if test_folder is not None:
            parts["test"] = PurePosixPath(nfc(test_folder)).parts
        self.all_others = next((split for split, some in parts.items() if not some), None)
        # Of two that begin at the same folder, such as images and images/test, the longer one.
        self._parts = sorted(
            ((some, split) for split, some in parts.items() if some), key=lambda p: -len(p[0])
        )

    @lru_cache(maxsize=1 << 16)  # noqa: B019 (there is one of these for each call)
    def find(self, folder: str) -> tuple[str, str] | None:
        """Return the split of the images in a folder, and the folders below the split's.

        The outermost folder that is the split's decides.
        """
        if found := self.named(folder):
            return found
        return (self.all_others, folder) if self.all_others else None

    def named(self, folder: str) -> tuple[str, str] | None:
        """Return the same as `find`, but None for images that are in none of the two folders."""
        above = tuple(folder.split("/"))
        for start in range(len(above)):
            for parts, split in self._parts:
                if above[start : start + len(parts)] == parts:
                    return split, "/".join(above[start + len(parts) :])
        return None

    def among(self, images: Iterable[Images], around: str = "") -> set[str | None]:
        """Return the splits of images, with None for those of no split."""
        folders = {joined(around, folder) for one in images for folder in one.folders()}
        found = [self.find(folder) for folder in folders]
        return {one and one[0] for one in found}

    def repeated(self, split: str) -> str:
        """Return the last part of the split's folder, which archives often hold once more."""
        return next((parts[-1] for parts, name in self._parts if name == split), "")


def find_images(contents: Contents, raw: Path, *, to_be_written: bool = False) -> list[FoundFiles]:
    """Return all images that the dataset's files in `raw` hold.

    If they are `to_be_written` as files, no two names may differ in case only. Raises `UserError`
    for such names, for an archive that cannot be read or trusted (see `open_archive`), for an image
    that is there twice, and if there are no training images or no test images.
    """
    splits = Splits(contents.train_folder, contents.test_folder)
    chunks: Iterable[Chunk]
    if contents.archive_format == "cifar_python":
        height, width = contents.image_size or (32, 32)
        archives = archives_in(contents, raw)
        chunks = (one for path in archives for one in toronto_chunks(path, (height, width)))
        found = [FoundFiles(chunk, chunk.names) for chunk in chunks]
    elif contents.archive_format == "pixels":
        assert contents.pixels is not None  # as `Dataset` has checked
        files = table_files(contents, raw, {contents.pixels.train, contents.pixels.test})
        chunks = pixel_chunks(contents.pixels, files, contents.image_size, contents.encoding)
        found = [FoundFiles(chunk, chunk.names) for chunk in chunks]
    elif contents.source == "folder":
        found = images_in_folders(contents, raw)
        if contents.class_folders:
            folders = linked_folders(raw, contents)
            others = {folder.resolve() for folder in folders.values()}
            classes = [one for one in folders["train"].iterdir() if one.is_dir()]
            refuse_empty(raw, [nfc(o.name) for o in classes if o.resolve() not in others], found)
    else:
        images = images_in_archives(contents, raw, splits)
        found = [files for one in images for files in files_of(one, splits)]
        there = {path.partition("/")[0] for one in found for path in one.paths}
        refuse_missing(contents, raw, images, [one for one in splits.wanted if one not in there])
        found = without_repetition(found, splits)
        if contents.class_folders:
            refuse_empty(raw, class_folders(images, splits), found)
    check_paths(found, to_be_written=to_be_written)
    there = {path.partition("/")[0] for one in found for path in one.paths}
    refuse_missing(contents, raw, [], [one for one in splits.wanted if one not in there])
    return found


def images_in_folders(contents: Contents, raw: Path) -> list[FoundFiles]:
    """Return the images in a user's own folders. Raises `UserError` if one is not there."""
    folders = linked_folders(raw, contents)
    for folder in folders.values():
        if not folder.is_dir():
            raise UserError(
                f"{folder.resolve()}: the folder of images is not there, or not on this machine; "
                "get it, or set raw_dir to a folder that all machines of the workflow have"
            )
    found: list[FoundFiles] = []
    for split, names in image_files(folders).items():
        for chunk in chunks_of(FolderListing(folders[split], names), lambda _: True):
            found.append(FoundFiles(chunk, [f"{split}/{name}" for name in chunk.names]))
    return found


def images_in_archives(contents: Contents, raw: Path, splits: Splits) -> list[Images]:
    """Return the images in the archives of a dataset, and in those inside of them."""
    found = {
        archive: images_in(list_archive(archive), raw, splits, stem(archive.name))
        for archive in archives_in(contents, raw)
    }
    holders = [archive for archive, some in found.items() if any(one.names for one in some)]
    images: list[Images] = []
    for archive, some in found.items():
        # With train_folder ".", the archives' names are folders only if they tell images apart.
        nameless = splits.all_others and len(holders) == 1 and not splits.named(stem(archive.name))
        images += some if nameless else with_name(some, stem(archive.name), splits)
    return images


def images_in(
    listing: Listing, raw: Path, splits: Splits, around: str, level: int = 1
) -> list[Images]:
    """Return the images in an archive, and in archives inside of it.

    Of those, the archives that a split's folder leads to are opened first, and the others only if
    a split has no images yet. `around` are the folders around the files, as far as is known.
    """
    found = [image_names(listing)]
    if level == MOST_LEVELS:
        return found
    inner = inner_archives(listing)
    likely = [name for name in inner if splits.find(joined(around, folder_name(name)))]
    for names in (likely, [name for name in inner if name not in likely]):
        for name, below in open_inner(listing, names, raw):
            folder, own = name.rpartition("/")[0], stem(name.rpartition("/")[2])
            some = images_in(below, raw, splits, joined(around, folder, own), level + 1)
            found += [one.within(folder) for one in with_name(some, own, splits)]
        if splits.among(found, around) >= {*splits.wanted}:
            break
    return found


def image_names(listing: Listing) -> Images:
    """Return the images in a listing."""
    names: list[str] = []
    folders: set[str] = set()
    for name in filter(is_image, listing.names):
        folder, _, base = name.rpartition("/")
        if base.startswith(".") or (folder not in folders and has_junk(folder)):
            continue
        folders.add(folder)
        names.append(name)
    return Images(listing, names, folders)


def with_name(images: list[Images], name: str, splits: Splits) -> list[Images]:
    """Put the name of an archive around its images, as a folder.

    It does not count if the archive itself holds both splits' folders, or all its images are in one
    of them: those in test.zip that are in a folder train are no test images.
    """
    if splits.named(name):
        inside = splits.among(images)
        all_named = all(splits.named(folder) for one in images for folder in one.folders())
        if inside >= {*FOLDERS} or (len(inside) == 1 and all_named):
            return images
    return [one.within(name) for one in images]


def files_of(images: Images, splits: Splits) -> list[FoundFiles]:
    """Return the training and test images among some images, to be read."""
    targets: dict[str, str] = {}
    for folder in images.inner:
        if found := splits.find(joined(images.around, folder)):
            targets[folder] = f"{joined(*found)}/"
    paths: dict[str, str] = {}
    for name in images.names if targets else ():
        folder, _, base = name.rpartition("/")
        if folder in targets:
            paths[name] = targets[folder] + base
    if not paths:
        return []
    chunks = chunks_of(images.listing, paths.__contains__)
    return [FoundFiles(chunk, [paths[name] for name in chunk.names]) for chunk in chunks]


def without_repetition(found: list[FoundFiles], splits: Splits) -> list[FoundFiles]:
    """Take train/train/1.png for train/1.png, if all training images are like this; also test."""
    for split in splits.wanted:
        start = f"{split}/{splits.repeated(split)}/"
        while all(
            path.startswith(start) or not path.startswith(f"{split}/")
            for one in found
            for path in one.paths
        ):
            found = [
                FoundFiles(
                    one.chunk,
                    [
                        f"{split}/{path[len(start) :]}" if path.startswith(start) else path
                        for path in one.paths
                    ],
                )
                for one in found
            ]
    return found


def stem(name: str) -> str:
    """Return an archive's name without endings."""
    return nfc(name).split(".")[0]


def folder_name(name: str) -> str:
    """Return the path of an archive in an archive, as a folder."""
    folder, _, base = name.rpartition("/")
    return joined(folder, stem(base))


def joined(*folders: str) -> str:
    """Return folders, some of which may be empty, as one path."""
    return "/".join(filter(None, folders))


def refuse_missing(
    contents: Contents, raw: Path, images: Sequence[Images], splits: Sequence[str]
) -> None:
    """Raise `UserError` if there are `splits` without images. It names the folders of `images`."""
    if not splits:
        return
    split = splits[0]
    folder = contents.train_folder if split == "train" else contents.test_folder
    folders = {folder for one in images for folder in one.folders()}
    if len({folder.partition("/")[0] for folder in folders}) == 1:  # as a single archive's name
        folders = {folder.partition("/")[2] or folder for folder in folders}
    if images and not folders:
        names = (name for one in images for name in usable(one.listing.names))
        endings = sorted({PurePosixPath(name).suffix for name in names} - {""})
        found = f" (found: {', '.join(endings[:SHOWN])})" if endings else ""
        raise UserError(f"{raw}: the archives hold no image{found}; correct `files`, or get others")
    parents = {
        str(parent)
        for one in folders
        for parent in (PurePosixPath(one), *PurePosixPath(one).parents)
    } - {"."}
    shown = sorted(parents, key=lambda one: (one.count("/"), one))
    more = ", …" if len(shown) > SHOWN else ""
    there = f" (there are {', '.join(map(quoted, shown[:SHOWN]))}{more})" if shown else ""
    raise UserError(
        f"{raw}: no image is in a folder {folder!r}{there}; correct {split}_folder in the dataset "
        "file"
    )


def class_folders(images: Sequence[Images], splits: Splits) -> set[str]:
    """Return the names of the folders in that of the training images, empty ones included."""
    repeated = splits.repeated("train")
    names: set[str] = set()
    for one in images:
        for folder in {*one.inner, *one.listing.folders}:
            place = splits.find(joined(one.around, folder.strip("/")))
            if place and place[0] == "train":
                parts = place[1].split("/")
                while parts and parts[0] == repeated:
                    parts.pop(0)
                names.update(parts[:1])
    return names


def refuse_empty(raw: Path, names: Iterable[str], found: Sequence[FoundFiles]) -> None:
    """Raise `UserError` if one of the classes' folders holds no image."""
    paths = (path.split("/") for one in found for path in one.paths)
    filled = {parts[1] for parts in paths if parts[0] == "train" and len(parts) > 2}
    empty = sorted(name for name in set(names) - filled if name and not has_junk(name))
    if empty:
        more = f" (nor do {len(empty) - 1} others)" if len(empty) > 1 else ""
        raise UserError(
            f"{raw}: the class folder {quoted(empty[0])} holds no image{more}; remove it, or add "
            "its images"
        )


def check_paths(found: Sequence[FoundFiles], *, to_be_written: bool) -> None:
    """Raise `UserError` for two files of one path, and for what cannot be an image.

    Two names that differ in case only are one file on some file systems.
    """
    seen: dict[str, str] = {}
    for one in found:
        archive = one.chunk.archive
        for path, size in zip(one.paths, one.chunk.sizes, strict=True):
            check_image(archive, path, size)
            other = seen.setdefault(path.casefold() if to_be_written else path, path)
            if other is path:
                continue
            split, _, name = path.partition("/")
            if other == path:
                raise UserError(
                    f"{archive}: two {split} images have the name {quoted(name)}; remove one from "
                    "the archive"
                )
            raise UserError(
                f"{archive}: the names of two {split} images, {quoted(other.partition('/')[2])} "
                f"and {quoted(name)}, differ only in upper and lower case, and are one file on "
                "some disks; set layout=packed, which writes no files"
            )


def check_image(archive: Path, path: str, size: int | None) -> None:
    """Raise `UserError` for an image whose name cannot be an id, or that is far too large."""
    name = path.rpartition("/")[2]
    image_id = name.rpartition(".")[0]
    if image_id != image_id.strip():
        raise UserError(
            f"{archive}: the image {quoted(name)} has a space around its name; rename it"
        )
    if size is not None and size > LARGEST_IMAGE:
        raise UserError(
            f"{archive}: {quoted(name)} unpacks to {size:,} bytes; it is no image, so remove it"
        )
