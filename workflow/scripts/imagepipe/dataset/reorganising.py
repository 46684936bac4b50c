"""The book's folder tree, which torchvision.datasets.ImageFolder reads."""

import csv
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from imagepipe.dataset.manifests import count_images, read_images
from imagepipe.errors import UserError
from imagepipe.files import atomic_write, count_rows, link, read_rows
from imagepipe.parallel import Advance, run_tasks

TREE_COLUMNS = ("path", "id", "label", "split", "bytes")
TREES = ("train_valid", "train", "valid", "test")
LINKS_PER_TASK = 2_000
# Starting a process takes as long as making this many links.
LINKS_PER_PROCESS = 20_000
LINKS_BETWEEN_ADVANCES = 500


class TreeImage(NamedTuple):
    """An image in the tree: its path below it, its id, its label, train, valid or test, bytes."""

    path: str
    id: str
    label: str
    split: str
    size: int


def reorganise(
    extracted: Path, split: Path, tree: Path, link_mode: str = "auto", workers: int = 1
) -> None:
    """Make `tree`/{train_valid,train,valid}/<label>/<file> and `tree`/test/unknown/<file>.

    Each is a link to the extracted image (see `files.link`). `tree`/manifest.tsv gets a row for
    each image of train, valid and test; what is in train or valid is in train_valid as well.
    Raises `UserError` if an image of the split is not among the extracted ones.
    """
    for name in TREES:
        (tree / name).mkdir(parents=True, exist_ok=True)
    with (
        atomic_write(tree / "manifest.tsv") as temporary,
        temporary.open("w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(TREE_COLUMNS)

        def tasks() -> Iterator[list[TreeImage]]:
            images = tree_images(extracted, split)
            while some := list(islice(images, LINKS_PER_TASK)):
                writer.writerows(some)
                yield some

        run_tasks(
            partial(link_images, extracted, tree, link_mode),
            tasks(),
            workers,
            total=count_rows(split) + count_images(extracted, "test"),
            description="reorganise",
            unit="images",
            units_per_process=LINKS_PER_PROCESS,
        )


def link_images(
    extracted: Path, tree: Path, link_mode: str, images: Sequence[TreeImage], advance: Advance
) -> None:
    """Put images into their folders of the tree."""
    folders = {image.path.rpartition("/")[0] for image in images}
    folders |= {f"train_valid/{image.label}" for image in images if image.split != "test"}
    for folder in folders:
        (tree / folder).mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(images, start=1):
        name = image.path.rpartition("/")[2]
        source = f"{extracted}/{'test' if image.split == 'test' else 'train'}/{name}"
        try:
            link(source, f"{tree}/{image.path}", link_mode)
            if image.split != "test":
                link(source, f"{tree}/train_valid/{image.label}/{name}", link_mode)
        except FileNotFoundError:
            raise UserError(f"{source}: is gone; run again with --forcerun extract") from None
        if number % LINKS_BETWEEN_ADVANCES == 0:
            advance(LINKS_BETWEEN_ADVANCES)


def tree_images(extracted: Path, split: Path) -> Iterator[TreeImage]:
    """Yield the images of train and valid, and then those of test, each in natural order."""
    splits = (name for _, (name,) in read_rows(split, ("split",)))
    for image in read_images(extracted, split):
        name = next(splits) if image.split == "train" else "test"
        path = f"{name}/{image.label}/{image.file.name}"
        yield TreeImage(path, image.id, image.label, name, image.file.size)
