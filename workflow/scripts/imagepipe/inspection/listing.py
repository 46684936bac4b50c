"""The files in a folder, in its archives, and in archives in these, listed without unpacking them.

Listing a .zip archive takes its central directory alone, also within another .zip. Other archives
in archives, and tables in archives, are copied to a temporary folder, up to a limit. Nothing else
is written.
"""

import gzip
import re
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from imagepipe.archives.reading import is_archive, list_archive, part_of
from imagepipe.archives.safety import damage_in_one_line
from imagepipe.archives.unpacking import MOST_LEVELS, join, whole_archives
from imagepipe.archives.zip import refuse_split
from imagepipe.errors import UserError
from imagepipe.files import files_below, has_junk, is_junk
from imagepipe.inspection.holders import ArchiveHolder, FolderHolder, Holder, ZipHolder

# Bytes that are copied to a temporary folder, of one file and altogether.
LARGEST_COPY = 1 << 30
MOST_COPIED = 1 << 32
# Bytes of an archive that has to be read through to list it.
LARGEST_READ = 1 << 32
PIECE = 1 << 20
COMPRESSED_TABLES = (".csv.gz", ".tsv.gz", ".json.gz")
PART_WORDS = ("train", "test", "image", "img")


@dataclass(frozen=True)
class FoundFile:
    """A file in a folder, or an archive.

    `folders` are the folders above it; an archive counts as a folder of its own name. `top` is the
    archive in the looked-at folder that holds it, or None for a plain file. `member` is its name in
    its holder.
    """

    folders: tuple[str, ...]
    name: str
    size: int
    top: str | None
    holder: Holder
    member: str

    @property
    def path(self) -> str:
        """Its path, for messages."""
        return "/".join((*self.folders, self.name))

    @property
    def ending(self) -> str:
        """Its ending without the dot, in lower case."""
        return self.name.rpartition(".")[2].lower() if "." in self.name else ""


@dataclass
class Listing:
    """The files that were found in `source`, and notes on what could not be looked at.

    `raw_dir` is the folder that holds the files of the dataset. `bundle` is the archive in it that
    holds all of them, if there is one. `parts` gives the parts of archives that are divided.
    """

    source: Path
    raw_dir: Path
    scratch: Path
    bundle: str | None = None
    files: list[FoundFile] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    parts: dict[str, list[str]] = field(default_factory=dict)
    copied: int = 0

    def on_disk(self, file: FoundFile) -> Path:
        """Return the path of a file, or of its copy if it is in an archive or compressed.

        Raises `UserError` if it is too large.
        """
        compressed = file.member.endswith(".gz") and not file.name.endswith(".gz")
        if isinstance(file.holder, FolderHolder) and not compressed:
            return file.holder.folder / file.member
        self.copied += file.size
        if file.size > LARGEST_COPY or self.copied > MOST_COPIED:
            raise UserError(
                f"is too large to be looked at in an archive ({file.size / 1e9:.1f} GB)"
            )
        target = Path(tempfile.mkdtemp(dir=self.scratch), file.name)
        if not compressed:
            file.holder.copy(file.member, target)
            return target
        whole = target.with_name(f"{file.name}.gz")
        file.holder.copy(file.member, whole)
        with (
            damage_in_one_line(Path(file.path)),
            gzip.open(whole) as source,
            target.open("wb") as copy,
        ):
            for piece in iter(partial(source.read, PIECE), b""):
                copy.write(piece)
                if copy.tell() > LARGEST_COPY:
                    raise UserError("is too large to be looked at")
        return target


@contextmanager
def looked_at(source: Path) -> Iterator[Listing]:
    """Yield the files in a folder or a bundle, which can be read within this block.

    Raises `UserError` if it does not exist, or an archive cannot be read or trusted.
    """
    with ExitStack() as stack:
        scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="imagepipe-"))
        yield Lister(source, Path(scratch), stack).list()


class Lister:
    """Fills a listing. The `stack` closes what it opens."""

    def __init__(self, source: Path, scratch: Path, stack: ExitStack) -> None:
        self.source, self.stack = source, stack
        folder = innermost(source) if source.is_dir() else source.parent
        self.listing = Listing(source, folder.absolute(), scratch)

    def list(self) -> Listing:
        """Return the listing of the folder or bundle."""
        listing = self.listing
        if self.source.is_file():
            if not is_archive(self.source.name):
                raise UserError(f"{self.source}: is neither a folder nor an archive")
            listing.bundle = self.source.name
            self.add_archive(self.source, self.source, (), self.source.name)
            return listing
        if not self.source.is_dir():
            raise UserError(f"{self.source}: does not exist; correct the path")
        names = files_below(listing.raw_dir)
        outside = [name for name in names if "/" not in name]
        listing.parts = whole_archives(outside, listing.raw_dir)
        archives = [name for name in outside if is_archive(name)] + list(listing.parts)
        holder = FolderHolder(listing.raw_dir)
        rest = [name for name in names if name not in archives and not part_of(name)]
        if len(archives) == 1 and not rest and not is_part_name(archives[0]):
            listing.bundle = archives[0]
        for name in archives:
            path = listing.raw_dir / name
            if name in listing.parts:
                path = self.joined(name)
            self.add_archive(path, path, () if name == listing.bundle else (stem(name),), name)
        for name in rest:
            self.add(name, (listing.raw_dir / name).stat().st_size, (), None, holder, 0)
        return listing

    def joined(self, name: str) -> Path:
        """Return a copy of an archive that is in parts."""
        listing = self.listing
        paths = [listing.raw_dir / part for part in listing.parts[name]]
        if sum(path.stat().st_size for path in paths) > LARGEST_READ:
            raise UserError(f"{paths[0]}: is part of a large archive; join the parts to look at it")
        return join(paths, name, listing.scratch)

    def add(
        self,
        member: str,
        size: int,
        above: tuple[str, ...],
        top: str | None,
        holder: Holder,
        level: int,
    ) -> None:
        """Add a file, or the files of an archive in an archive."""
        if has_junk(member):
            return
        *folders, name = member.split("/")
        if name.lower().endswith(COMPRESSED_TABLES):
            top = top or (member if not folders else None)
            name = name[:-3]
        file = FoundFile((*above, *folders), name, size, top, holder, member)
        if not is_archive(name) or level in (0, MOST_LEVELS):
            self.listing.files.append(file)
            if level == 0 and is_archive(name):
                folder = self.listing.raw_dir / Path(member).parent
                self.listing.notes.append(f"{member} is not looked into; call init on {folder}")
            return
        label = Path(f"{top}: {member}")
        inner = (*file.folders, stem(name))
        try:
            if name.lower().endswith(".zip") and isinstance(holder, ZipHolder):
                self.add_inner_zip(label, holder, file, inner, level + 1)
            else:
                self.add_archive(label, self.listing.on_disk(file), inner, top or "", level + 1)
        except UserError as error:
            self.listing.notes.append(one_note(file.path, error))

    def add_inner_zip(
        self,
        label: Path,
        holder: ZipHolder,
        file: FoundFile,
        folders: tuple[str, ...],
        level: int,
    ) -> None:
        """Add the files of a .zip archive in another one."""
        if file.size > LARGEST_READ and holder.is_compressed(file.member):
            raise UserError(f"has {file.size / 1e9:.1f} GB; unpack {file.top} to look at it")
        with damage_in_one_line(label):
            inner = ZipHolder(label, holder.open_inner(file.member))
        self.add_members(inner, inner.members(), folders, file.top or "", level)

    def add_archive(
        self, label: Path, path: Path, folders: tuple[str, ...], top: str, level: int = 1
    ) -> None:
        """Add the files of an archive."""
        name = path.name.lower()
        if not name.endswith((".zip", ".7z", ".tar")) and path.stat().st_size > LARGEST_READ:
            raise UserError(f"{label}: is too large to be read through; unpack it to look at it")
        holder: ZipHolder | ArchiveHolder
        if name.endswith(".zip"):
            with damage_in_one_line(label):
                refuse_split(path)
                holder = ZipHolder(label, self.stack.enter_context(path.open("rb")))
        else:
            holder = ArchiveHolder(list_archive(path))
        self.add_members(holder, holder.members(), folders, top, level)

    def add_members(
        self,
        holder: Holder,
        members: Iterable[tuple[str, int]],
        folders: tuple[str, ...],
        top: str,
        level: int,
    ) -> None:
        """Add the files in an archive."""
        for member, size in members:
            self.add(member, size, folders, top, holder, level)


def one_note(path: str, error: UserError) -> str:
    """Return the line for a file that could not be looked at.

    The message may name a copy of it instead, or the archive around it as well.
    """
    name = re.escape(path.rpartition("/")[2])
    return f"{path}: {re.split(f'[/ ]{name}: ', str(error), maxsplit=1)[-1]}"


def stem(name: str) -> str:
    """Return an archive's name without its endings, which counts as a folder around its files."""
    return name.split(".")[0] or name


def innermost(folder: Path) -> Path:
    """Return the folder that holds the files, where a folder holds nothing but a folder."""
    for _ in range(MOST_LEVELS):
        inside = [path for path in folder.iterdir() if not is_junk(path.name)]
        if len(inside) != 1 or not inside[0].is_dir() or is_part_name(inside[0].name):
            break
        folder = inside[0]
    return folder


def is_part_name(name: str) -> bool:
    """Tell whether a folder or an archive is named after a part, and so does not hold all."""
    return any(word in name.lower() for word in PART_WORDS)
