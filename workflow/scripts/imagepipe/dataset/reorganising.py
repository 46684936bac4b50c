"""The book's folder tree, which torchvision.datasets.ImageFolder reads."""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from imagepipe.dataset.manifests import (
    CLASS_SEPARATOR,
    UNKNOWN,
    Image,
    labelled_images,
    listed_test_images,
    read_manifest,
)
from imagepipe.errors import UserError, quoted
from imagepipe.files import link, read_rows, write_rows
from imagepipe.parallel import Advance, run_tasks

TREE_COLUMNS = ("path", "id", "label", "split", "bytes")
TREES = ("train_valid", "train", "valid", "test")
LINKS_PER_TASK = 2_000
# Starting a process takes as long as making this many links.
LINKS_PER_PROCESS = 20_000
LINKS_BETWEEN_ADVANCES = 500
# Characters that some file systems do not allow in names.
UNSAFE = re.compile(r'[/\\:*?"<>|\x00-\x1f\x7f]')
LONGEST_NAME = 255
# The folder of images without a class, where images may have several.
NO_CLASS = "none"


class TreeImage(NamedTuple):
    """An image in the tree: its path there, id, label, split (train, valid or test), and bytes."""

    path: str
    id: str
    label: str
    split: str
    size: int


def reorganise(
    extracted: Path,
    split: Path,
    test: Path,
    tree: Path,
    link_mode: str = "auto",
    workers: int = 1,
) -> None:
    """Make `tree`/{train_valid,train,valid}/<label>/<file> and `tree`/test/unknown/<file>.

    `test` is test.csv. Each file is a link to the extracted image (see `files.link`). `tree`/
    manifest.tsv gets a row for each image of train, valid and test; what is in train or valid is in
    train_valid as well. Raises `UserError` if an image of the tables is not among the extracted
    ones, or two would get the same path.
    """
    for name in TREES:
        (tree / name).mkdir(parents=True, exist_ok=True)
    images = tree_images(extracted, split, test)
    run_tasks(
        partial(link_images, extracted, tree, link_mode),
        [images[start : start + LINKS_PER_TASK] for start in range(0, len(images), LINKS_PER_TASK)],
        workers,
        total=len(images),
        description="reorganise",
        unit="images",
        units_per_process=LINKS_PER_PROCESS,
    )
    rows = (image for _, image in images)
    write_rows(tree / "manifest.tsv", TREE_COLUMNS, rows, delimiter="\t")


def tree_images(extracted: Path, split: Path, test: Path) -> list[tuple[str, TreeImage]]:
    """Return the images of train and valid, and then those of test, each in natural order.

    Each comes with its path below `extracted`.
    """
    manifest = read_manifest(extracted)
    labelled = labelled_images(manifest, split)
    listed = {image.path for image in listed_test_images(manifest, test)}
    tested = [image._replace(label=UNKNOWN) for image in manifest if image.path in listed]
    folder_of = folder_names({image.label for image in labelled}, split) | {UNKNOWN: UNKNOWN}
    splits = [name for _, (name,) in read_rows(split, ("split",))] + ["test"] * len(tested)
    images: dict[str, tuple[str, TreeImage]] = {}
    for image, name in zip([*labelled, *tested], splits, strict=True):
        folder = UNKNOWN if name == "test" else folder_of[image.label]
        path = f"{name}/{folder}/{file_name(image)}"
        if path in images:
            raise UserError(
                f"{path}: both {images[path][0]} and {image.path} would get this path; "
                "rename one of them"
            )
        images[path] = (
            image.path,
            TreeImage(path, image.id, image.label, name, image.size),
        )
    return list(images.values())


def file_name(image: Image) -> str:
    """Return an image's file name in the tree, which is that of the file unless the id has "/"."""
    if "/" not in image.id:
        return image.name
    ending = "" if image.id == image.below else f".{image.name.rpartition('.')[2]}"
    return shortened(f"{image.id.replace('/', '_')}{ending}")


def folder_names(labels: Iterable[str], source: Path) -> dict[str, str]:
    """Return the name of each label's folder.

    Characters that a name cannot have become "_", and the classes of an image that has several are
    joined by "+". Raises `UserError` if two labels get the same name.
    """
    folder_of: dict[str, str] = {}
    label_of: dict[str, str] = {}
    for label in sorted(labels):
        folder = folder_name(label)
        if folder in label_of:
            raise UserError(
                f"{source}: the labels {quoted(label_of[folder])} and {quoted(label)} would share "
                f"the folder {quoted(folder)}; rename one, or set layout to packed"
            )
        folder_of[label], label_of[folder] = folder, label
    return folder_of


def folder_name(label: str) -> str:
    """Return the name of a label's folder."""
    folder = UNSAFE.sub("_", label.replace(CLASS_SEPARATOR, "+")) or NO_CLASS
    if folder.startswith("."):
        folder = f"_{folder[1:]}"
    return shortened(folder)


def shortened(name: str) -> str:
    """Return a file's name, or its start and a hash if it is too long for a file system."""
    if len(name.encode()) <= LONGEST_NAME:
        return name
    start, end = name.encode()[:200].decode(errors="ignore"), hashlib.sha256(name.encode())
    return f"{start}-{end.hexdigest()[:12]}"


def link_images(
    extracted: Path,
    tree: Path,
    link_mode: str,
    images: Sequence[tuple[str, TreeImage]],
    advance: Advance,
) -> None:
    """Put images, each with its path below `extracted`, into their folders of the tree."""
    paths: Mapping[str, list[str]] = {
        image.path: [
            image.path,
            *([] if image.split == "test" else [f"train_valid/{image.path.partition('/')[2]}"]),
        ]
        for _, image in images
    }
    for folder in {path.rpartition("/")[0] for both in paths.values() for path in both}:
        (tree / folder).mkdir(parents=True, exist_ok=True)
    for number, (below, image) in enumerate(images, start=1):
        source = f"{extracted}/{below}"
        try:
            for path in paths[image.path]:
                link(source, f"{tree}/{path}", link_mode)
        except FileNotFoundError:
            raise UserError(f"{source}: is gone; run again with --forcerun extract") from None
        if number % LINKS_BETWEEN_ADVANCES == 0:
            advance(LINKS_BETWEEN_ADVANCES)
