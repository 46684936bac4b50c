"""The folders of the images as a dataset file writes them."""

from collections.abc import Sequence

from imagepipe.inspection.listing import FoundFile


def folder_value(folder: tuple[str, ...], files: Sequence[FoundFile], plain: bool) -> str:
    """Return a folder's name: its last part, or as many of them as no other images' folder has.

    With plain folders, it is the path.
    """
    if plain or not folder:
        return "/".join(folder) or "."
    below = {file.folders[: len(folder)] == folder: True for file in files}
    if len(below) == 1 and len(folder) == 1 and not files[0].folders[1:]:
        return folder[-1]
    for n in range(1, len(folder) + 1):
        name = folder[-n:]
        if all(
            (outermost(file.folders, name) is not None) == (file.folders[: len(folder)] == folder)
            for file in files
        ):
            return "/".join(name)
    return "/".join(folder)


def outermost(folders: tuple[str, ...], name: tuple[str, ...]) -> int | None:
    """Return where the parts of a name are first in a path, or None."""
    n = len(name)
    return next((k for k in range(len(folders) - n + 1) if folders[k : k + n] == name), None)
