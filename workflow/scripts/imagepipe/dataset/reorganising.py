"""The book's folder tree, which torchvision.datasets.ImageFolder reads."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from imagepipe.dataset.manifests import labelled_images, read_manifest
from imagepipe.errors import UserError
from imagepipe.files import link, read_rows, write_rows
from imagepipe.parallel import Advance, run_tasks

TREE_COLUMNS = ("path", "id", "label", "split", "bytes")
TREES = ("train_valid", "train", "valid", "test")
LINKS_PER_TASK = 2_000
# Starting a process takes as long as making this many links.
LINKS_PER_PROCESS = 20_000
LINKS_BETWEEN_ADVANCES = 500


class TreeImage(NamedTuple):
    """An image in the tree: its path there, id, label, split (train, valid or test), and bytes."""

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
    images = tree_images(extracted, split)
    run_tasks(
        partial(link_images, extracted, tree, link_mode),
        [images[start : start + LINKS_PER_TASK] for start in range(0, len(images), LINKS_PER_TASK)],
        workers,
        total=len(images),
        description="reorganise",
        unit="images",
        units_per_process=LINKS_PER_PROCESS,
    )
    write_rows(tree / "manifest.tsv", TREE_COLUMNS, images, delimiter="\t")


def tree_images(extracted: Path, split: Path) -> list[TreeImage]:
    """Return the images of train and valid, and then those of test, each in natural order."""
    manifest = read_manifest(extracted)
    labelled = labelled_images(manifest, split)
    test = [image for image in manifest if image.is_test]
    splits = [name for _, (name,) in read_rows(split, ("split",))] + ["test"] * len(test)
    return [
        TreeImage(f"{name}/{image.label}/{image.name}", image.id, image.label, name, image.size)
        for image, name in zip([*labelled, *test], splits, strict=True)
    ]


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
