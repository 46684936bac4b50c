"""The book's folder tree, which torchvision.datasets.ImageFolder reads."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from imagepipe.errors import UserError
from imagepipe.files import link, read_rows, write_rows
from imagepipe.manifests import check_unchanged, read_manifest
from imagepipe.progress import progress
from imagepipe.splitting import SPLIT_COLUMNS

TREE_COLUMNS = ("path", "id", "label", "split", "bytes")
TREES = ("train_valid", "train", "valid", "test")
# The book's name for the one folder of the test images, whose classes aren't known.
UNKNOWN = "unknown"


@dataclass(frozen=True)
class TreeImage:
    """An image in the tree: its file, its id, its label, and train, valid or test."""

    path: Path
    id: str
    label: str
    split: str


def reorganise(extracted: Path, split: Path, tree: Path, link_mode: str = "auto") -> None:
    """Make `tree`/{train_valid,train,valid}/<label>/<file> and `tree`/test/unknown/<file>.

    Each is a link to the extracted image (see `files.link`). `tree`/manifest.tsv gets a row for
    each image of train, valid and test; what is in train or valid is in train_valid as well.
    Raises `UserError` if an image of the split is not among the extracted ones.
    """
    images = read_manifest(extracted)
    rows: list[tuple[str, str, str, str, int]] = []
    links: list[tuple[Path, Path]] = []

    def place(source: Path, tree_name: str, label: str) -> Path:
        target = tree / tree_name / label / source.name
        links.append((source, target))
        return target

    for row, (image_id, label, split_name) in read_rows(split, SPLIT_COLUMNS):
        if image_id not in images["train"]:
            raise UserError(
                f"{split}: row {row}: there is no image of id {image_id!r} any more; "
                "run again with --forcerun labels"
            )
        source = images["train"][image_id]
        place(source, "train_valid", label)
        target = place(source, split_name, label)
        size = source.stat().st_size
        rows.append((str(target.relative_to(tree)), image_id, label, split_name, size))
    for image_id, source in images["test"].items():
        target = place(source, "test", UNKNOWN)
        size = source.stat().st_size
        rows.append((str(target.relative_to(tree)), image_id, UNKNOWN, "test", size))

    for name in TREES:
        (tree / name).mkdir(parents=True, exist_ok=True)
    for folder in {target.parent for _, target in links}:
        folder.mkdir(parents=True, exist_ok=True)
    for source, target in progress(links, total=len(links), description="reorganise", unit="files"):
        link(source, target, link_mode)
    write_rows(tree / "manifest.tsv", TREE_COLUMNS, rows, delimiter="\t")


def read_tree(tree: Path) -> Iterator[TreeImage]:
    """Yield the images of the manifest, checking that each is there and has its size.

    Labelled images come before test images, each in natural order of the ids.
    """
    manifest = tree / "manifest.tsv"
    for _, (path, image_id, label, split, size) in read_rows(manifest, TREE_COLUMNS, "\t"):
        check_unchanged(tree / path, int(size), manifest, "reorganise")
        yield TreeImage(tree / path, image_id, label, split)
