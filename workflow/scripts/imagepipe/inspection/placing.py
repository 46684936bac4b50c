"""The folders of the images as a dataset file writes them."""

from collections.abc import Sequence
from itertools import product

from imagepipe.dataset.image_sources import Splits
from imagepipe.inspection.listing import FoundFile

Folder = tuple[str, ...]


def folder_values(
    train: tuple[Folder, Sequence[FoundFile]], test: tuple[Folder, Sequence[FoundFile]] | None
) -> tuple[str, str | None]:
    """Return the names of the folders of training and test images in archives.

    Each is the last part of its path, or as many of them as tell the images apart.
    """
    parts = [("train", *train)] + ([("test", *test)] if test else [])
    names = [[("/".join(one[1][-n:]) or ".") for n in range(1, len(one[1]) + 1)] for one in parts]
    choices = [some or ["."] for some in names]
    for chosen in product(*choices):
        splits = Splits(chosen[0], chosen[1] if test else None)
        if all(
            (found := splits.find(folder)) is not None and found[0] == split
            for split, _, files in parts
            for folder in {"/".join(file.folders) for file in files}
        ):
            break
    return chosen[0], chosen[1] if test else None
