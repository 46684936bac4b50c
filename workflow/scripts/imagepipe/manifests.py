"""Lists of the files in a folder, by which a later stage sees that one is gone or changed.

A workflow manager takes a folder that a stage has written as a whole, and does not look into it.
"""

from pathlib import Path

from imagepipe.errors import UserError
from imagepipe.files import read_rows

MANIFEST_COLUMNS = ("path", "bytes", "crc32")
SPLITS = ("train", "test")


def read_manifest(folder: Path) -> dict[str, dict[str, Path]]:
    """Return each split's images as {id: path}, in natural order, the id being the file's stem.

    Raises `UserError` if an image of the manifest is gone or has another size.
    """
    images: dict[str, dict[str, Path]] = {split: {} for split in SPLITS}
    manifest = folder / "manifest.tsv"
    for _, (path, size, _) in read_rows(manifest, MANIFEST_COLUMNS, delimiter="\t"):
        split, _, name = path.partition("/")
        file = folder / split / name
        check_unchanged(file, int(size), manifest, "extract")
        images[split][file.stem] = file
    return images


def check_unchanged(file: Path, size: int, manifest: Path, rule: str) -> None:
    """Raise `UserError` if a file that a manifest lists is gone or has another size."""
    found = file.stat().st_size if file.is_file() else None
    if found != size:
        state = "is gone" if found is None else f"has {found:,} bytes where it had {size:,}"
        raise UserError(f"{file}: {state} (see {manifest}); run again with --forcerun {rule}")
