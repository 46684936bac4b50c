"""The files in a folder, in its archives, and in archives in these, listed without unpacking them.

Listing a .zip archive takes its central directory alone, also within another .zip. Other archives
in archives are copied to a temporary folder, up to a limit. Nothing else is written.
"""

import io
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Protocol, cast

from imagepipe.archives.reading import is_archive, open_archive, read_archive
from imagepipe.archives.safety import damage_in_one_line
from imagepipe.archives.zip import METHODS
from imagepipe.errors import UserError

# Bytes of an inner archive that is no .zip, which is copied to list it.
LARGEST_COPY = 1 << 30
# Bytes that are read to list an archive that only reading through can list.
LARGEST_READ = 1 << 32
# Bytes at an inner archive's end that are kept: the central directory of 300,000 files.
TAIL = 1 << 25
SMALL = 1 << 26
PIECE = 1 << 20
# Archives in archives: a bundle, an archive of it, and that one's .tar.
DEEPEST = 4
JUNK = {"__MACOSX", ".DS_Store", "Thumbs.db", "@eaDir", ".ipynb_checkpoints"}


class Holder(Protocol):
    """A folder or an archive that holds files, which can be read in any order, or only in its."""

    any_order: bool

    def members(self) -> list[tuple[str, int]]:
        """Return the names and sizes of the files, in bytes."""

    def open(self, name: str) -> BinaryIO:
        """Open a file."""

    def read(self, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Yield (name, content) of some files, in the order that is quickest."""


@dataclass(frozen=True)
class FoundFile:
    """A file in a folder, or an archive.

    `folders` are the folders above it; an archive counts as a folder of its own name. `top` is the
    archive in the looked-at folder that holds it, or None for a plain file.
    """

    folders: tuple[str, ...]
    name: str
    size: int
    top: str | None
    holder: Holder
    member: str

    @property
    def path(self) -> str:
        return "/".join((*self.folders, self.name))

    @property
    def ending(self) -> str:
        return self.name.rpartition(".")[2].lower() if "." in self.name else ""

    def open(self) -> BinaryIO:
        return self.holder.open(self.member)


@dataclass
class Listing:
    """The files that were found, and lines on what could not be looked at."""

    source: Path
    raw_dir: Path
    bundle: str | None
    scratch: Path
    files: list[FoundFile] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def on_disk(self, file: FoundFile) -> Path:
        """Return the path of a file, or of its copy if it is in an archive."""
        if isinstance(file.holder, FolderHolder):
            return file.holder.folder / file.member
        target = Path(tempfile.mkdtemp(dir=self.scratch), file.name)
        with file.open() as source, target.open("wb") as copy:
            shutil.copyfileobj(source, copy, PIECE)
        return target


class FolderHolder:
    """A plain folder. Links are followed, circles are not."""

    any_order = True

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def members(self) -> list[tuple[str, int]]:
        found: list[tuple[str, int]] = []
        seen: set[tuple[int, int]] = set()
        for above, folders, names in os.walk(self.folder, followlinks=True):
            status = Path(above).stat()
            if (status.st_dev, status.st_ino) in seen:
                folders.clear()
                continue
            seen.add((status.st_dev, status.st_ino))
            folders[:] = sorted(one for one in folders if not is_junk(one))
            for name in sorted(names):
                path = Path(above, name)
                if path.is_file():
                    found.append((path.relative_to(self.folder).as_posix(), path.stat().st_size))
        return found

    def open(self, name: str) -> BinaryIO:
        return (self.folder / name).open("rb")

    def read(self, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        for name in names:
            yield name, (self.folder / name).read_bytes()


class ZipHolder:
    """A .zip archive, which may lie in another one."""

    any_order = True

    def __init__(self, label: str, file: BinaryIO) -> None:
        self.label = label
        self.zip = zipfile.ZipFile(file)
        self.infos: dict[str, zipfile.ZipInfo] = {}
        for info in self.zip.infolist():
            if info.flag_bits & 0x1:
                raise UserError(f"{label}: is encrypted; pack it again without a password")
            if info.compress_type not in METHODS:
                raise UserError(
                    f"{label}: uses a compression that is not supported (method "
                    f"{info.compress_type}); pack it again with Deflate"
                )
            if not info.is_dir():
                self.infos[decoded_name(info)] = info

    def members(self) -> list[tuple[str, int]]:
        return [(name, info.file_size) for name, info in self.infos.items()]

    def open(self, name: str) -> BinaryIO:
        return cast(BinaryIO, self.zip.open(self.infos[name]))

    def read(self, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        for name in sorted(names, key=lambda one: self.infos[one].header_offset):
            yield name, self.zip.read(self.infos[name])

    def open_inner(self, name: str) -> BinaryIO:
        """Open an inner archive as a file that can be sought."""
        info = self.infos[name]
        if info.file_size <= SMALL:
            return io.BytesIO(self.zip.read(info))
        return cast(BinaryIO, io.BufferedReader(InnerFile(self.zip, info), PIECE))


class InnerFile(io.RawIOBase):
    """A large member of a .zip archive as a file that can be sought.

    Its end, with the listing of an inner archive, is kept. Reads elsewhere go forward through the
    member, and start again where they go back.
    """

    def __init__(self, outer: zipfile.ZipFile, info: zipfile.ZipInfo) -> None:
        self.outer, self.info = outer, info
        self.stream = outer.open(info)
        self.position = 0
        self.tail_start = max(0, info.file_size - TAIL)
        self.stream.seek(self.tail_start)
        self.tail = self.stream.read()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self.position, io.SEEK_END: self.info.file_size}
        self.position = max(0, start[whence] + offset)
        return self.position

    def readinto(self, buffer: object) -> int:
        view = memoryview(cast(bytearray, buffer))
        if self.position >= self.tail_start:
            start = self.position - self.tail_start
            content = self.tail[start : start + len(view)]
        else:
            self.stream.seek(self.position)
            content = self.stream.read(min(len(view), self.tail_start - self.position))
        view[: len(content)] = content
        self.position += len(content)
        return len(content)


class ArchiveHolder:
    """A .7z or .tar archive."""

    any_order = False

    def __init__(self, label: str, archive: Path) -> None:
        self.label, self.archive = label, archive

    def members(self) -> list[tuple[str, int]]:
        chunks = open_archive(self.archive, lambda name: True)
        return [
            (name, size or 0)
            for chunk in chunks
            for name, size in zip(chunk.names, chunk.sizes, strict=True)
        ]

    def open(self, name: str) -> BinaryIO:
        for _, content in self.read([name]):
            return io.BytesIO(content)
        raise UserError(f"{self.label}: holds no {name}; get the archive again")

    def read(self, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        wanted = set(names)
        yield from read_archive(self.archive, lambda name: name in wanted)


def decoded_name(info: zipfile.ZipInfo) -> str:
    """Return a member's name, which may be UTF-8 although the archive does not say so."""
    if not info.flag_bits & 0x800:
        try:
            return info.orig_filename.encode("cp437").decode("utf-8")
        except UnicodeError:
            pass
    return info.filename


def is_junk(name: str) -> bool:
    """Tell whether a file or a folder was left by a program, and is none of the user's."""
    return name in JUNK or name.startswith("._")


def stem(name: str) -> str:
    """Return an archive's name without its endings, which counts as a folder around its files."""
    return name.split(".")[0] or name


class Looker:
    """Lists a folder or a bundle. Use as a context: it has a temporary folder for inner archives.

    Its `listing` can be read as long as the context is open.
    """

    def __init__(self, source: Path) -> None:
        self.source = source
        self.stack = ExitStack()

    def __enter__(self) -> Listing:
        try:
            return self.look()
        except BaseException:
            self.stack.close()
            raise

    def __exit__(self, *_: object) -> None:
        self.stack.close()

    def look(self) -> Listing:
        folder = self.source
        scratch = tempfile.TemporaryDirectory(prefix="imagepipe-")
        self.scratch = Path(self.stack.enter_context(scratch))
        if folder.is_file():
            if not is_archive(folder.name):
                raise UserError(f"{folder}: is no archive and no folder; give one of these")
            self.listing = Listing(self.source, folder.absolute().parent, folder.name, self.scratch)
            self.add_archive(folder.name, folder, (), folder.name, 1)
            return self.listing
        if not folder.is_dir():
            raise UserError(f"{folder}: does not exist; correct the path")
        folder = innermost(folder)
        self.listing = Listing(self.source, folder.absolute(), None, self.scratch)
        holder = FolderHolder(folder)
        members = holder.members()
        tops = [name for name, _ in members if "/" not in name and is_archive(name)]
        rest = [name for name, _ in members if not is_junk(name) and name not in tops]
        if len(tops) == 1 and not rest:
            self.listing.bundle = tops[0]
        for name, size in members:
            if name in tops:
                folders = () if name == self.listing.bundle else (stem(name),)
                self.add_archive(name, folder / name, folders, name, 1)
            else:
                self.add(name, size, (), None, holder, 0)
        return self.listing

    def add(
        self,
        member: str,
        size: int,
        above: tuple[str, ...],
        top: str | None,
        holder: Holder,
        depth: int,
    ) -> None:
        *folders, name = member.split("/")
        if is_junk(name) or any(map(is_junk, folders)):
            return
        found = FoundFile((*above, *folders), name, size, top, holder, member)
        if top is None or not is_archive(name) or depth >= DEEPEST:
            self.listing.files.append(found)
            return
        inner = (*found.folders, stem(name))
        label = f"{top}: {member}"
        with damage_in_one_line(Path(label)):
            if name.lower().endswith(".zip") and isinstance(holder, ZipHolder):
                if holder.infos[member].compress_type and size > LARGEST_READ:
                    self.unknown(found)
                    return
                self.add_members(ZipHolder(label, holder.open_inner(member)), inner, top, depth + 1)
            elif size > LARGEST_COPY:
                self.unknown(found)
            else:
                self.add_archive(label, self.listing.on_disk(found), inner, top, depth + 1)

    def unknown(self, file: FoundFile) -> None:
        self.listing.files.append(file)
        self.listing.notes.append(
            f"{file.path} ({file.size / 1e9:.1f} GB) was not looked into; unpack "
            f"{file.top} once to have it looked at"
        )

    def add_archive(
        self, label: str, path: Path, folders: tuple[str, ...], top: str, depth: int
    ) -> None:
        name = path.name.lower()
        with damage_in_one_line(Path(label)):
            if name.endswith(".zip"):
                file = self.stack.enter_context(path.open("rb"))
                self.add_members(ZipHolder(label, file), folders, top, depth)
                return
            compressed = not name.endswith((".7z", ".tar"))
            if compressed and path.stat().st_size > LARGEST_READ:
                raise UserError(
                    f"{label}: is too large to be listed, as it must be read through; unpack it"
                )
            self.add_members(ArchiveHolder(label, path), folders, top, depth)

    def add_members(self, holder: Holder, folders: tuple[str, ...], top: str, depth: int) -> None:
        for member, size in holder.members():
            self.add(member, size, folders, top, holder, depth)


def innermost(folder: Path) -> Path:
    """Return the folder that holds the files, where a folder holds nothing but a folder."""
    for _ in range(DEEPEST):
        inside = [path for path in folder.iterdir() if not is_junk(path.name)]
        if len(inside) != 1 or not inside[0].is_dir() or is_role_name(inside[0].name):
            break
        folder = inside[0]
    return folder


def is_role_name(name: str) -> bool:
    """Tell whether a folder is named after its images' part, and so is not one around all."""
    return any(word in name.lower() for word in ("train", "test", "image", "img"))
