"""The images among the files: which are for training and which are the test, and what they are.

A folder's name says it: one with the word "train" is for training, and one with "test" is the test.
The outermost such folder decides, and an archive counts as a folder of its name.
"""

import io
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from PIL import Image

from imagepipe.errors import UserError
from imagepipe.inspection.listing import FoundFile, Holder

ENDINGS = ("png", "jpg", "jpeg", "webp", "tif", "tiff", "bmp", "gif")
ROLE_WORDS = {
    "train": "train",
    "training": "train",
    "test": "test",
    "testing": "test",
    "val": "valid",
    "valid": "valid",
    "validation": "valid",
    "dev": "valid",
}
LOOKED_AT = 200
LARGEST_IMAGE = 1 << 26


@dataclass
class Part:
    """The images of one part: the path of its folder, and those images.

    `inside` are the images' paths below the folder.
    """

    folder: tuple[str, ...]
    files: list[FoundFile]

    def inside(self, file: FoundFile) -> tuple[str, ...]:
        return (*file.folders[len(self.folder) :], file.name)


@dataclass
class Parts:
    """The images by part, and the folders that are left out."""

    train: Part | None = None
    test: Part | None = None
    valid: Part | None = None
    pool: Part | None = None
    notes: list[str] = field(default_factory=list)


def role_of(name: str) -> str | None:
    """Return what a folder's name says: train, test, valid, or nothing."""
    words = re.findall(r"[a-z]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", name).lower())
    roles = {ROLE_WORDS[word] for word in words if word in ROLE_WORDS}
    return roles.pop() if len(roles) == 1 else None


def part_of(file: FoundFile) -> tuple[str, tuple[str, ...]] | None:
    """Return an image's role and the path of the folder that says it."""
    for n, name in enumerate(file.folders):
        if role := role_of(name):
            # train.zip often holds a folder train.
            while n + 1 < len(file.folders) and file.folders[n + 1] == name:
                n += 1
            return role, file.folders[: n + 1]
    return None


def find_parts(files: Sequence[FoundFile]) -> Parts:
    """Tell the images apart by their folders' names."""
    found: dict[str, dict[tuple[str, ...], list[FoundFile]]] = defaultdict(
        lambda: defaultdict(list)
    )
    rest: list[FoundFile] = []
    for file in files:
        if file.ending not in ENDINGS:
            continue
        part = part_of(file)
        if part is None:
            rest.append(file)
        else:
            found[part[0]][part[1]].append(file)
    parts = Parts()
    for role, folders in found.items():
        best = max(folders, key=lambda one: rank(folders[one]))
        setattr(parts, role, Part(best, folders[best]))
        for folder in folders:
            if folder != best:
                parts.notes.append(
                    f"{len(folders[folder]):,} images in {'/'.join(folder)} are left out"
                )
    if parts.train is None and parts.test is None and parts.valid is not None:
        rest += parts.valid.files
        parts.valid = None
    if rest and parts.train is None:
        parts.pool = Part(common_folder(rest), rest)
    elif rest:
        folder = "/".join(common_folder(rest)) or "no folder"
        parts.notes.append(f"{len(rest):,} images in {folder} are left out")
    return parts


def rank(files: Sequence[FoundFile]) -> tuple[bool, int]:
    """Prefer common images to TIFF, which often have more than three channels; then the most."""
    return files[0].ending not in ("tif", "tiff"), len(files)


def common_folder(files: Sequence[FoundFile]) -> tuple[str, ...]:
    """Return the folder that all files are below."""
    first, last = min(file.folders for file in files), max(file.folders for file in files)
    n = 0
    while n < min(len(first), len(last)) and first[n] == last[n]:
        n += 1
    return first[:n]


@dataclass
class Looks:
    """What the images look like: formats, and sizes (width, height) in pixels."""

    formats: Counter[str]
    sizes: Counter[tuple[int, int]]
    bad: list[str]
    n: int


def look_at(files: Sequence[FoundFile]) -> Looks:
    """Read the headers of some images, spread over all."""
    looks = Looks(Counter(), Counter(), [], 0)
    step = max(1, len(files) // LOOKED_AT)
    chosen = [file for file in files[::step][:LOOKED_AT] if file.size <= LARGEST_IMAGE]
    by_holder: dict[int, tuple[Holder, dict[str, FoundFile]]] = {}
    for file in chosen:
        by_holder.setdefault(id(file.holder), (file.holder, {}))[1][file.member] = file
    for holder, members in by_holder.values():
        for name, content in holder.read(members):
            looks.n += 1
            try:
                with Image.open(io.BytesIO(content)) as image:
                    looks.formats[image.format or "?"] += 1
                    looks.sizes[image.size] += 1
            except Exception:  # Pillow raises anything for damaged bytes
                looks.bad.append(members[name].path)
    if chosen and len(looks.bad) == looks.n:
        raise UserError(f"{looks.bad[0]}: is no image that can be read, nor are the others")
    return looks


def image_key(text: str) -> str:
    """Return what an id and the name of its image have in common."""
    name = unicodedata.normalize("NFC", text).replace("\\", "/").rpartition("/")[2].strip()
    base, dot, ending = name.rpartition(".")
    return (base if dot and ending.lower() in ENDINGS else name).casefold()
