"""The images among the files: which are for training and which are the test, and what they are.

A folder's name says it: one with the word "train" is for training, and one with "test" is the test.
The outermost such folder decides, and an archive counts as a folder of its name.
"""

import io
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from itertools import groupby

from PIL import ExifTags, Image

from imagepipe.dataset.image_sources import LARGEST_IMAGE
from imagepipe.errors import UserError
from imagepipe.files import nfc, without_ending
from imagepipe.inspection.holders import Holder
from imagepipe.inspection.listing import FoundFile

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
NUMBER = re.compile(r"0*([0-9]+)(?:\.0)?")
LOOKED_AT = 200
# Values of EXIF's orientation for an image that lies on its side.
TURNED = (5, 6, 7, 8)


@dataclass
class Part:
    """The images of one part: the path of its folder, those images, and what the folder says."""

    folder: tuple[str, ...]
    files: list[FoundFile]

    folder_role: str | None = None

    def inside(self, file: FoundFile) -> tuple[str, ...]:
        """Return an image's path below the folder, in parts."""
        return (*file.folders[len(self.folder) :], file.name)

    @cached_property
    def keys(self) -> set[str]:
        """Return the keys of all images."""
        return {image_key(file.name) for file in self.files}


@dataclass
class Parts:
    """The images by part. The `pool` are those whose folders say nothing."""

    train: Part | None = None
    test: Part | None = None
    valid: Part | None = None
    pool: Part | None = None
    others: list[Part] = field(default_factory=list)

    def left_out(self, *used: Part | None) -> list[str]:
        """Return a line for each part that is not used."""
        parts = [self.train, self.test, self.valid, self.pool, *self.others]
        return [
            f"{len(part.files):,} images in {name_of(part.folder)} are not used"
            for part in parts
            if part is not None and part not in used
        ]


def words(name: str) -> list[str]:
    """Return the words of a folder's or a column's name: "patientId" and "patient_id" have two."""
    return re.findall(r"[a-z]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", name).lower())


@cache
def role_of(name: str) -> str | None:
    """Return what a folder's name says: train, test, valid, or nothing."""
    roles = {ROLE_WORDS[word] for word in words(name) if word in ROLE_WORDS}
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
        part = part_of(file)
        if part is None:
            rest.append(file)
        else:
            found[part[0]][part[1]].append(file)
    if is_class(found.get("train", {}), rest) and "test" not in found:
        rest += [file for some in found.pop("train").values() for file in some]
    parts = Parts()
    for role, folders in found.items():
        best = max(folders, key=lambda one: rank(folders[one]))
        setattr(parts, role, Part(best, folders[best], role))
        parts.others += [Part(one, folders[one], role) for one in folders if one != best]
    if parts.train is None and not rest and parts.valid is not None:
        parts.train, parts.valid = parts.valid, None
    if rest:
        parts.pool = Part(common_folder(rest), rest)
    return parts


def is_class(train: Mapping[tuple[str, ...], list[FoundFile]], rest: Sequence[FoundFile]) -> bool:
    """Return whether a folder named train is a class of images, as are the folders beside it."""
    if len(train) != 1:
        return False
    ((folder, files),) = train.items()
    siblings = {file.folders for file in rest if file.folders[:-1] == folder[:-1]}
    return len(siblings) > 1 and all(file.folders == folder for file in files)


def rank(files: Sequence[FoundFile]) -> tuple[bool, int, bool]:
    """Prefer common images to TIFF, which often have more than three channels; then the most.

    Of equally many, some may be unpacked from the others' archive: these.
    """
    return files[0].ending not in ("tif", "tiff"), len(files), files[0].top is None


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

    def words(self) -> str:
        """Return them on a line."""
        formats = ", ".join(name for name, _ in self.formats.most_common())
        first, *_, last = sorted(self.sizes, key=lambda one: (one[0] * one[1], one)) * 2
        words = f"{formats}, {len(self.sizes):,} sizes from {first[0]}×{first[1]} to "
        if len(self.sizes) == 1:
            words = f"{formats}, "
        words += f"{last[0]}×{last[1]} (width × height, in {self.n:,} images looked at)"
        if self.bad:
            words += f"; {len(self.bad):,} of these cannot be read, such as {self.bad[0]}"
        return words


def look_at(files: Sequence[FoundFile], n: int = LOOKED_AT) -> Looks:
    """Read the headers of `n` images, spread over all. Raises `UserError` if none can be read."""
    looks = Looks(Counter(), Counter(), [], 0)
    # A .7z or .tar archive must be unpacked from its start to an image.
    step = max(1, len(files) // n) if files[0].holder.any_order else 1
    by_holder: dict[int, tuple[Holder, dict[str, FoundFile]]] = {}
    for file in files[::step][:n]:
        if file.size <= LARGEST_IMAGE:
            by_holder.setdefault(id(file.holder), (file.holder, {}))[1][file.member] = file
    for holder, members in by_holder.values():
        for name, content in holder.read(members):
            looks.n += 1
            try:
                with Image.open(io.BytesIO(content)) as image:
                    width, height = image.size
                    turned = image.getexif().get(ExifTags.Base.Orientation, 1) in TURNED
                    looks.sizes[(height, width) if turned else (width, height)] += 1
                    looks.formats[image.format or "?"] += 1
            except Exception:  # Pillow raises anything for damaged bytes
                looks.bad.append(members[name].path)
    if not looks.sizes:
        raise UserError(f"{files[0].path}: is no image that can be read, nor are the others")
    return looks


def image_key(text: str) -> str:
    """Return what an id and the name of its image have in common."""
    name = nfc(text).replace("\\", "/").rpartition("/")[2].strip()
    key = without_ending(name).casefold()
    number = NUMBER.fullmatch(key)  # a spreadsheet makes 7 or 7.0 of 007
    return number[1] if number else key


def image_keys(ids: Iterable[str]) -> set[str]:
    """Return the keys of some ids."""
    return set(map(image_key, ids))


def name_of(folder: Sequence[str]) -> str:
    """Return a folder's path for a line: train/train/ in train.zip is train/."""
    path = "/".join(name for name, _ in groupby(folder))
    return f"{path}/" if path else "the folder itself"
