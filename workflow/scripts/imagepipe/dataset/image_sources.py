"""Which images and tables a dataset's archives or folders hold."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from imagepipe.archives.chunk import Chunk
from imagepipe.archives.reading import is_archive, open_archive
from imagepipe.archives.toronto import toronto_chunks
from imagepipe.config.dataset import Contents
from imagepipe.config.dataset_files import image_folders
from imagepipe.dataset.manifests import FOLDERS
from imagepipe.errors import UserError, quoted

# Bytes. No image of a competition of small images comes near it.
LARGEST_IMAGE = 1 << 26


@dataclass(frozen=True)
class FoundFiles:
    """Images or tables in a chunk of an archive, and the path that each gets when it is extracted.

    It is "train/1.png" for an image, and the file's name for a table.
    """

    chunk: Chunk
    paths: list[str]

    def size(self) -> int:
        """Return the bytes of all files, as far as they are known before they are read."""
        return sum(size or 0 for size in self.chunk.sizes)


def find_images(contents: Contents, raw: Path) -> list[FoundFiles]:
    """Return all images that the dataset's files in `raw` hold.

    Raises `UserError` for an archive that cannot be read or trusted (see `open_archive`), for an
    image that is there twice, and if there are no training images or no test images.
    """
    found: list[FoundFiles] = []
    for source in archives_in(contents, raw):
        if contents.archive_format == "cifar_python":
            chunks = toronto_chunks(source, contents.image_size)
            found += [FoundFiles(chunk, chunk.names) for chunk in chunks]
        else:
            found += files_with_path(source, image_paths(contents, source))
    check_paths(found)
    folders = {path.partition("/")[0] for one in found for path in one.paths}
    for folder, name in zip(FOLDERS, (contents.train_folder, contents.test_folder), strict=True):
        if folder not in folders:
            raise UserError(
                f"{raw}: the archives hold no .{contents.image_extension} image in a folder "
                f"{name!r}; correct image_extension or {folder}_folder in the dataset file"
            )
    return found


def find_tables(contents: Contents, raw: Path, names: Collection[str]) -> list[FoundFiles]:
    """Return the tables of some names that the archives of image files in `raw` hold.

    Raises `UserError` as `find_images` does.
    """

    def path_of(name: str) -> str | None:
        base = name.rpartition("/")[2]
        return base if base in names else None

    archives = archives_in(contents, raw)
    found = [one for archive in archives for one in files_with_path(archive, path_of)]
    check_paths(found)
    return found


def archives_in(contents: Contents, raw: Path) -> list[Path]:
    """Return the archives, or the folders of images, that a dataset consists of."""
    if contents.source == "folder":
        return image_folders(raw, contents)
    return [raw / file.name for file in contents.files if is_archive(file.name)]


def files_with_path(archive: Path, path_of: Callable[[str], str | None]) -> list[FoundFiles]:
    """Return those files of an archive that `path_of` gives a path by their names."""
    known = cache(path_of)
    chunks = open_archive(archive, lambda name: known(name) is not None)
    return [FoundFiles(chunk, [known(name) or "" for name in chunk.names]) for chunk in chunks]


def image_paths(contents: Contents, source: Path) -> Callable[[str], str | None]:
    """Return the function that gives an image's path by its name in an archive, else None.

    An image is a training or a test image by the nearest folder above it that has the name of one
    of the two. The source's own name, an archive's without its endings, counts as the outermost
    folder. So `1.png`, `train/1.png` and `train/train/1.png` in train.7z are all training images.
    """
    folder_of = {contents.train_folder: "train", contents.test_folder: "test"}
    outermost = source.name if source.is_dir() else source.name.split(".")[0]
    suffix = f".{contents.image_extension}"

    @cache
    def target_of(folder: str) -> str | None:
        above = (outermost, *folder.split("/"))
        return next((folder_of[name] for name in reversed(above) if name in folder_of), None)

    def path_of(name: str) -> str | None:
        folder, _, base = name.rpartition("/")
        # "._1.png" is what macOS adds to archives beside 1.png.
        if not base.lower().endswith(suffix) or base.startswith("._"):
            return None
        target = target_of(folder)
        return target and f"{target}/{base}"

    return path_of


def check_paths(found: Sequence[FoundFiles]) -> None:
    """Raise `UserError` for two files of one path, and for what cannot be an image.

    Two names that differ in case only are one file on some file systems.
    """
    seen: set[str] = set()
    for one in found:
        archive = one.chunk.archive
        for path, size in zip(one.paths, one.chunk.sizes, strict=True):
            folder, _, name = path.rpartition("/")
            if folder:
                check_image(archive, name, size)
            folded = path.casefold()
            if folded in seen:
                what = f"two {folder} images have" if folder else "two tables have"
                raise UserError(
                    f"{archive}: {what} the name {quoted(name)}; remove one from the archive"
                )
            seen.add(folded)


def check_image(archive: Path, name: str, size: int | None) -> None:
    """Raise `UserError` for an image whose name cannot be an id, or that is far too large."""
    image_id = name.rpartition(".")[0]
    if not image_id or image_id != image_id.strip():
        raise UserError(
            f"{archive}: the image {quoted(name)} has no name before its ending, or a space around "
            "it; rename it"
        )
    if size is not None and size > LARGEST_IMAGE:
        raise UserError(
            f"{archive}: {quoted(name)} unpacks to {size:,} bytes; it is no image, so remove it"
        )
