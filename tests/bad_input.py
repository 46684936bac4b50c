"""The table of bad input: ways to spoil a competition's files, and what the user is told of it.

And a table of unusual input, which must be taken as it is.
"""

import io
import shutil
import stat
import struct
import tarfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import py7zr
from PIL import Image
from py7zr.archiveinfo import SubstreamsInfo

from builders import CLASSES, label_of, pixels, png_bytes, write_archive, write_csv
from odd_archives import (
    Member,
    add_tar_header,
    encrypt_last_of_zip,
    misname_last_of_zip,
    misstate_last_of_zip,
    write_odd,
    write_odd_7z,
    write_odd_tar,
)

KINDS = ("7z", "zip", "tar.gz")
LABELS = "trainLabels.csv"
SAMPLE = "sampleSubmission.csv"
# Formats of images besides PNG.
OTHER_FORMATS = ("JPEG", "GIF", "WEBP", "TIFF", "BMP")
# A file of the user's beside the working directory, which no archive may reach.
OUTSIDE = "outside.png"
# Limits on what an archive may unpack to that a small one exceeds.
LOW_LIMITS = {"HARMLESS_SIZE": 1 << 16, "LARGEST_RATIO": 10}

Spoil = Callable[[Path], object]


@dataclass(frozen=True)
class Case:
    """A way to spoil a folder of files, the words of the message, and the rule that fails.

    With the layout "packed" that may be another rule, `in_packed`. `kind` is that of the archives,
    and `inside` a table that the dataset has in one of them.
    """

    spoil: Spoil
    words: tuple[str, ...]
    rule: str
    in_packed: str | None = None
    kind: str = "7z"
    inside: str | None = None
    on_bad_image: str = "error"

    def options(self, of_job: dict[str, Any]) -> dict[str, Any]:
        """Return a job's options, made for the dataset cifar10, as the case needs them."""
        options = dict(of_job)
        for section in ("source", "contents"):
            if options.get(section):
                files = [f for f in options[section]["files"] if f["name"] != self.inside]
                options[section] = options[section] | {"files": files}
        if "on_bad_image" in options:
            options["on_bad_image"] = self.on_bad_image
        return options

    def fails_in(self, layout: str) -> str:
        """Return the rule that fails with a layout."""
        return self.in_packed if self.in_packed and layout == "packed" else self.rule


@cache
def images(split: str) -> Mapping[str, bytes]:
    """Return the members of a split's archive: six training images, four test images."""
    first, count = {"train": (0, 6), "test": (10**6, 4)}[split]
    return {f"{split}/{i}.png": png_bytes(first + i) for i in range(1, count + 1)}


@cache
def archive_of(split: str, kind: str) -> bytes:
    """Return a split's archive, which takes longer to write than most cases take to fail."""
    with TemporaryDirectory() as folder:
        return write_archive(Path(folder) / f"{split}.{kind}", images(split)).read_bytes()


def write_files(raw: Path, kind: str = "7z") -> None:
    """Write a small competition's files as they should be, with archives of a kind."""
    for split in ("train", "test"):
        (raw / f"{split}.{kind}").write_bytes(archive_of(split, kind))
    write_csv(raw / LABELS, ("id", "label"), ((i, label_of(i, CLASSES[:2])) for i in range(1, 7)))
    write_csv(raw / SAMPLE, ("id", "label"), ((i, CLASSES[0]) for i in range(1, 5)))


# Archives

OUTSIDE_WORDS = ("points outside of the folder", "don't trust it")
DAMAGED = ("damaged, cut short or encrypted", "get the archive again")
SPARSE = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "1000"}
SPARSE_MAP = b"1\n0\n5\n".ljust(tarfile.BLOCKSIZE, b"\0") + b"hello"


def adding(kind: str, *members: Member) -> Spoil:
    """Add members of whatever name and type to the archive of the test images."""

    def spoil(raw: Path) -> None:
        whole = [Member(name, content) for name, content in images("test").items()]
        write_odd(raw / f"test.{kind}", [*whole, *members])

    return spoil


def adding_absolute_path(kind: str) -> Spoil:
    """Add a member whose name is the whole path of the user's file."""
    return lambda raw: adding(kind, Member(str(raw.parents[1] / OUTSIDE)))(raw)


def adding_tables(kind: str) -> Spoil:
    """Move the table of labels into two folders of an archive."""

    def spoil(raw: Path) -> None:
        content = (raw / LABELS).read_bytes()
        (raw / LABELS).unlink()
        adding(kind, *(Member(f"{folder}/{LABELS}", content) for folder in "ab"))(raw)

    return spoil


def holding(kind: str, members: Mapping[str, bytes]) -> Spoil:
    """Write an archive of test images that has other members."""
    return lambda raw: write_archive(raw / f"test.{kind}", members)


def cutting(name: str, part: float) -> Spoil:
    """Leave the first part of a file."""

    def spoil(raw: Path) -> None:
        content = (raw / name).read_bytes()
        (raw / name).write_bytes(content[: int(len(content) * part)])

    return spoil


def writing(name: str, content: bytes) -> Spoil:
    """Write a file's whole content."""
    return lambda raw: (raw / name).write_bytes(content)


def archive_cases(kind: str) -> dict[str, Case]:
    """Return the cases that there are for every kind of archive."""
    archive = f"test.{kind}"

    def case(spoil: Spoil, *words: str) -> Case:
        return Case(spoil, (archive, *words), "extract", kind=kind)

    def name(member: str, *words: str) -> Case:
        return case(adding(kind, Member(member)), *words)

    def special(file_type: int) -> Case:
        spoil = adding(kind, Member("test/5.png", b"/etc/passwd", file_type))
        return case(spoil, "'test/5.png' is a link or a device", "don't trust it")

    unprintable = ("has an unprintable name", "don't trust it")
    return {
        "absolute path": case(adding_absolute_path(kind), f"/{OUTSIDE}' ", *OUTSIDE_WORDS),
        "path that goes up": name(f"../../../../../{OUTSIDE}", *OUTSIDE_WORDS),
        "path that goes up further on": name(f"test/../../{OUTSIDE}", *OUTSIDE_WORDS),
        "path that goes up by backslashes": name(f"..\\..\\{OUTSIDE}", *OUTSIDE_WORDS),
        "drive letter": name(f"C:/{OUTSIDE}", *OUTSIDE_WORDS),
        "drive letter without a folder": name(f"C:{OUTSIDE}", *OUTSIDE_WORDS),
        "path of a Windows share": name(f"\\\\server\\share\\{OUTSIDE}", *OUTSIDE_WORDS),
        "line end in a name": name("test/5\nerror: 6.png", r"5\nerror: 6.png", *unprintable),
        "control character in a name": name("test/\x1b[2J.png", r"/\x1b[2J.png", *unprintable),
        "name that shows backwards": name("test/\u202egnp.5", r"/\u202egnp.5", *unprintable),
        "space around a name": name("test/5 .png", "'5 .png'", "a space around it", "rename it"),
        "symbolic link": special(stat.S_IFLNK),
        "device": special(stat.S_IFCHR),
        "named pipe": special(stat.S_IFIFO),
        "member twice": name("test/4.png", "'test/4.png' is there twice", "remove one"),
        "names that differ in case": Case(
            adding(kind, Member("test/a.png"), Member("test/A.PNG")),
            ("test image",),  # of layout "packed": that it is not in the sample
            "extract",
            in_packed="labels",
            kind=kind,
        ),
        "table twice": Case(
            adding_tables(kind),
            (archive, f"two tables have the name {LABELS!r}", "remove one"),
            "tables",
            kind=kind,
            inside=LABELS,
        ),
        "only the other split": Case(
            holding(kind, {"train/7.png": png_bytes(7)}),
            ("no image is in a folder 'test'", "correct test_folder"),
            "extract",
            kind=kind,
        ),
        "no member": Case(
            holding(kind, {}),
            ("no image is in a folder 'test'", "correct test_folder"),
            "extract",
            kind=kind,
        ),
        "empty": case(writing(archive, b""), *DAMAGED),
        "cut at its end": case(cutting(archive, 0.99), *DAMAGED),
        "cut in the middle": case(cutting(archive, 0.5), *DAMAGED),
        "not an archive": case(writing(archive, b"<html>Please log in</html>\n"), *DAMAGED),
        "unpacks to far too much": case(
            holding(kind, {"test/5.png": bytes(1 << 17)}),
            "unpacks to more than 10 times its size",
            "don't trust it",
        ),
    }


def misstating_7z(change: Callable[[SubstreamsInfo], object]) -> Spoil:
    """Change the sizes or checksums in the table of test.7z."""

    def change_table(archive: py7zr.SevenZipFile) -> None:
        change(archive.header.main_streams.substreamsinfo)

    members = [Member(name, content) for name, content in images("test").items()]
    return lambda raw: write_odd_7z(raw / "test.7z", members, change_table)


def move_a_boundary(table: SubstreamsInfo) -> None:
    """Give the first file a byte of the second one."""
    table.unpacksizes[0] += 1
    table.unpacksizes[1] -= 1


def flip_a_checksum(table: SubstreamsInfo) -> None:
    """Change a bit of the first file's CRC-32."""
    table.digests[0] ^= 1


def encrypting_7z(raw: Path) -> None:
    """Write test.7z with a password."""
    with py7zr.SevenZipFile(raw / "test.7z", "w", password="secret") as archive:
        for name, content in images("test").items():
            archive.writestr(content, name)


def naming_in_latin_1(raw: Path) -> None:
    """Add a member to test.tar.gz whose name is not UTF-8."""
    whole = [Member(name, content) for name, content in images("test").items()]
    write_odd_tar(raw / "test.tar.gz", [*whole, Member("test/ä.png")], encoding="latin-1")


def naming_zip_in_latin_1(says_utf_8: bool) -> Spoil:
    """Give the last member of test.zip a name that is not UTF-8, and may be said to be."""

    def spoil(raw: Path) -> None:
        misname_last_of_zip(raw / "test.zip", "test/ä.png".encode("latin-1"), says_utf_8)

    return spoil


def adding_tar_header(file_type: bytes, pax: Mapping[str, str], content: bytes = b"") -> Spoil:
    """Put a member of any kind in front of those of test.tar.gz."""
    header = tarfile.TarInfo("test/5.png")
    header.type, header.size, header.linkname = file_type, len(content), "test/1.png"
    header.pax_headers = dict(pax)
    return lambda raw: add_tar_header(raw / "test.tar.gz", header, content)


def zip_cases() -> dict[str, Case]:
    """Return the cases of .zip archives alone."""

    def case(change: Callable[[Path], object], *words: str, in_packed: str = "extract") -> Case:
        words = ("test.zip", *words)
        return Case(lambda raw: change(raw / "test.zip"), words, "extract", in_packed, "zip")

    return {
        "encrypted": case(encrypt_last_of_zip, "is encrypted", "without a password"),
        "smaller size than there is": case(
            partial(misstate_last_of_zip, size=100), *DAMAGED, in_packed="pack"
        ),
        "larger size than there is": case(
            partial(misstate_last_of_zip, size=5_000), *DAMAGED, in_packed="pack"
        ),
        "backslash in a name": Case(
            adding("zip", Member("test\\5.png")),
            ("test.zip", r"'test\\5.png' has a backslash", "pack it again"),
            "extract",
            kind="zip",
        ),
        "name that is not UTF-8, but is said to be": Case(
            naming_zip_in_latin_1(says_utf_8=True), ("test.zip", *DAMAGED), "extract", kind="zip"
        ),
        # The characters of another code page, but a name: here it is not that of an id.
        "name that is not UTF-8": Case(
            naming_zip_in_latin_1(says_utf_8=False),
            (SAMPLE, "row 5", "no test image with id '4'", "again"),
            "labels",
            kind="zip",
        ),
    }


def seven_zip_cases() -> dict[str, Case]:
    """Return the cases of .7z archives alone."""
    return {
        "encrypted": Case(
            encrypting_7z, ("test.7z", "is encrypted", "without a password"), "extract"
        ),
        "other sizes than there are": Case(
            misstating_7z(move_a_boundary), ("test.7z", *DAMAGED), "extract", "pack"
        ),
        "other checksum than there is": Case(
            misstating_7z(flip_a_checksum), ("test.7z", *DAMAGED), "extract", "pack"
        ),
    }


def tar_cases() -> dict[str, Case]:
    """Return the cases of .tar.gz archives alone."""

    def case(spoil: Spoil, *words: str) -> Case:
        return Case(spoil, ("test.tar.gz", *words), "extract", kind="tar.gz")

    sparse = ("holds a sparse file", "pack it again")
    return {
        "hard link before its file": case(
            adding_tar_header(tarfile.LNKTYPE, {}), "'test/5.png' is a link", "don't trust it"
        ),
        "sparse file": case(adding_tar_header(tarfile.GNUTYPE_SPARSE, {}), *sparse),
        "sparse file with its map in the content": case(
            adding_tar_header(tarfile.REGTYPE, SPARSE, SPARSE_MAP), *sparse
        ),
        "negative size": case(
            adding_tar_header(tarfile.REGTYPE, {"size": "-512"}, b"x"),
            "'test/5.png' unpacks to -512 bytes",
            "don't trust it",
        ),
        "long header": case(
            adding_tar_header(tarfile.REGTYPE, {"comment": "x" * 70_000}), "a header of", *DAMAGED
        ),
        "backslash in a name": case(
            adding("tar.gz", Member("test\\5.png")), r"'test\\5.png' has a backslash", "again"
        ),
        "name that is not UTF-8": case(naming_in_latin_1, "that is not UTF-8", "pack it again"),
    }


# Images


def replacing(content: bytes, name: str = "test/3.png") -> Spoil:
    """Put another content in the place of an image."""
    split = name.partition("/")[0]
    return lambda raw: write_archive(raw / f"{split}.7z", {**images(split), name: content})


def saved_as(kind: str, size: int = 32) -> bytes:
    """Return an image as a file of one of Pillow's formats."""
    content = io.BytesIO()
    Image.fromarray(pixels(1, size)).save(content, format=kind)
    return content.getvalue()


def png_of_size(width: int, height: int) -> bytes:
    """Return a PNG file whose header promises a size, and whose data is that of 32×32 pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    content = bytearray(png_bytes(1))
    content[12:33] = header + struct.pack(">I", zlib.crc32(header))
    return bytes(content)


def jpeg_of_size(width: int, height: int) -> bytes:
    """Return a JPEG file whose header promises a size, and whose data is that of 32×32 pixels."""
    content = bytearray(saved_as("JPEG"))
    place = content.index(b"\xff\xc0") + 5  # of the height in the frame's header
    content[place : place + 4] = struct.pack(">HH", height, width)
    return bytes(content)


def png_with_wrong_checksum(chunk: bytes) -> bytes:
    """Return a PNG file with a flipped bit in the data of a chunk."""
    content = bytearray(png_bytes(1))
    content[content.index(chunk) + 12] ^= 1
    return bytes(content)


def image_cases() -> dict[str, Case]:
    """Return the cases of images that cannot be used."""

    def case(content: bytes, *words: str) -> Case:
        return Case(replacing(content), ("3.png", *words), "pack")

    replace = "replace it in the archive"
    unreadable = ("is not a readable PNG, JPEG, WebP, TIFF, BMP or GIF image", replace)
    damaged = ("is not wholly readable", f"{replace}, or set on_bad_image to salvage")
    many = ("more than the limit of 89,478,485", "scale it down")
    whole = png_bytes(1)
    return {
        "empty image": case(b"", *unreadable),
        "text instead of an image": case(b"id,label\n1,cat\n", *unreadable),
        "PPM image": case(saved_as("PPM"), *unreadable),
        "AVIF image": case(saved_as("AVIF"), *unreadable),
        "ICO image": case(saved_as("ICO"), *unreadable),
        "SVG image": case(b'<svg xmlns="http://www.w3.org/2000/svg"/>', *unreadable),
        "PNG image without its end": case(whole[:-100], *damaged),
        "PNG image without its data": case(whole[:40], *unreadable),
        "PNG image with a wrong checksum of its header": case(
            png_with_wrong_checksum(b"IHDR"), *unreadable
        ),
        "PNG image with a wrong checksum of its data": case(
            png_with_wrong_checksum(b"IDAT"), *damaged
        ),
        "PNG image that promises 10¹⁸ pixels": case(png_of_size(1 << 30, 1 << 30), *many),
        "PNG image that promises 10⁸ pixels": case(png_of_size(10_000, 10_000), *many),
        "PNG image that promises 10⁶ pixels": case(
            png_of_size(1_000, 1_000), "1000×1000", "32×32", "resize it"
        ),
        "JPEG image that promises 4·10⁹ pixels": case(jpeg_of_size(65_500, 65_500), *many),
        "JPEG image without its end": case(saved_as("JPEG")[:-200], *damaged),
        "JPEG image without its last 2 bytes": case(saved_as("JPEG")[:-2], *damaged),
        "WebP image without its end": case(saved_as("WEBP")[:-200], "not", replace),
        "TIFF image without its end": case(saved_as("TIFF")[:-200], "not", replace),
        "BMP image without its end": case(saved_as("BMP")[:-200], *damaged),
        "GIF image without its end": case(saved_as("GIF")[:-200], *damaged),
        "GIF image of another size": case(saved_as("GIF", 40), "40×40", "32×32", "resize it"),
        "image of another size": case(png_bytes(1, size=40), "40×40", "32×32", "resize it"),
        "image that is not square": case(png_of_size(32, 31), "32×31", "32×32", "resize it"),
        "bad training image": Case(replacing(b"", "train/5.png"), ("5.png", *unreadable), "pack"),
        "bad test image, where bad training images are dropped": Case(
            replacing(b""), ("3.png", *unreadable), "pack", on_bad_image="drop"
        ),
    }


# Tables


def editing(name: str, change: Callable[[list[str]], list[str]]) -> Spoil:
    """Change the lines of a table."""

    def spoil(raw: Path) -> None:
        lines = change((raw / name).read_text(encoding="utf-8").splitlines())
        (raw / name).write_text("\n".join(lines) + "\n", encoding="utf-8", newline="")

    return spoil


def encoding_as(name: str, encoding: str) -> Spoil:
    """Save a table in another encoding, with a character that is not ASCII."""

    def spoil(raw: Path) -> None:
        text = (raw / name).read_text(encoding="utf-8").replace(CLASSES[0], "Fähre")
        (raw / name).write_bytes(text.encode(encoding))

    return spoil


def with_row(name: str, row: str) -> Spoil:
    """Put another row in the place of the second one, that of the id 2."""
    return editing(name, lambda lines: [*lines[:2], row, *lines[3:]])


def with_header(name: str, header: str) -> Spoil:
    """Give a table another header."""
    return editing(name, lambda lines: [header, *lines[1:]])


def label_cases() -> dict[str, Case]:
    """Return the cases of tables of labels that cannot be used."""

    def case(spoil: Spoil, *words: str) -> Case:
        return Case(spoil, (LABELS, *words), "labels")

    def row(text: str, *words: str) -> Case:
        return case(with_row(LABELS, text), "row 3", *words)

    def header(text: str, *words: str) -> Case:
        return case(with_header(LABELS, text), "row 1", *words, "correct the header")

    control = ("has a control character", "rename it")
    no_text = ("is not text, since it has NUL bytes", "save it as UTF-8")
    no_image = ("there is no training image with id", "remove the row")
    return {
        "no column of labels": header("id,class", "no column 'label'", "'id, class'"),
        "no columns at all": case(writing(LABELS, b""), "row 1", "no column 'id'", "nothing"),
        "column of labels twice": case(
            editing(LABELS, lambda lines: ["id,label,label", *(f"{x},cat" for x in lines[1:])]),
            "row 1",
            "the column 'label' is there twice",
            "correct the header",
        ),
        "line end in the header": header('id,"la\nbel"', r"la\nbel", "no column 'label'"),
        "long header": header("id," + "x" * 100_000, "no column 'label'", "characters"),
        "no rows": case(editing(LABELS, lambda lines: lines[:1]), "has no rows", "again"),
        "Latin-1": case(
            encoding_as(LABELS, "latin-1"), "row 2", "not UTF-8 text", "set encoding", "latin-1"
        ),
        "UTF-16 without a mark": case(encoding_as(LABELS, "utf-16-le"), "row 1", *no_text),
        "UTF-32 without a mark": case(encoding_as(LABELS, "utf-32-be"), "row 1", *no_text),
        "UTF-16 cut in a character": case(
            writing(LABELS, "id,label\n1,cat\n".encode("utf-16")[:-1]), "not utf-16 text", "save it"
        ),
        "binary": case(writing(LABELS, bytes(500)), "row 1", *no_text),
        "zip archive": case(
            writing(LABELS, b"PK\3\4" + bytes(99)), "is a zip archive", "unpack it"
        ),
        "Excel workbook": case(
            writing(LABELS, b"PK\3\4" + bytes(26) + b"[Content_Types].xml"),
            "is an Excel workbook",
            "save it as CSV",
        ),
        "web page": case(
            writing(LABELS, b"<!DOCTYPE html>\n"), "is a web page", "download the file itself"
        ),
        "quote that is not closed": case(
            with_row(LABELS, '2,"bird'), "row 7", "not valid CSV", "correct it"
        ),
        "huge field": row("2," + "x" * 200_000, "200,000 characters", "rename it"),
        "too many fields": row("2,bird,7", "3 fields", "correct the row"),
        "too few fields": row("2", "1 fields", "correct the row"),
        "id twice": row("1,bird", "the id '1' is there already", "row 2", "remove one"),
        "id twice, with and without the ending": row(
            "1.png,bird", "'1.png' is there already", "row 2", "remove one"
        ),
        "id twice, with and without the path": row("train/1.PNG,bird", "row 2", "remove one"),
        "id of a test image": row("test/2.png,bird", "is a test image", "labels.where"),
        "no id": row(",bird", "the id is empty", "fill it in"),
        "id without an image": row("777,bird", *no_image, "'777'"),
        "id that leads out of the folder": row(
            "../../etc/passwd,bird", *no_image, "'../../etc/passwd'"
        ),
        "id with a null character": row("2\0,bird", *no_text),
        "id with a null character far down": case(
            with_row(LABELS, "\n" * 5_000 + "2\0,bird"), "row 5003", *no_image, r"'2\x00'"
        ),
        "id with a line end": case(with_row(LABELS, '"2\n3",bird'), "row 4", *no_image, r"'2\n3'"),
        "id of 5,000 digits": row("7" * 5_000 + ",bird", *no_image, "5,000 characters"),
        "image without a label": case(
            editing(LABELS, lambda lines: lines[:-1]), "training image 6.png", "add its label"
        ),
        "no label": row("2,", "the label of id '2' is empty", "fill it in"),
        "label with a control character": row("2,\x1b[2Jcat", r"'\x1b[2Jcat'", *control),
        "label with a line end": case(with_row(LABELS, '2,"a\nb"'), "row 4", r"'a\nb'", *control),
        "label with a null character": row("2,cat\0", *no_text),
        "label with a null character far down": case(
            with_row(LABELS, "\n" * 5_000 + "2,cat\0"), "row 5003", r"'cat\x00'", *control
        ),
        "label that shows backwards": row("2,\u202etac", r"'\u202etac'", *control),
        "label of 300 characters": row("2," + "x" * 300, "300 characters", "rename it"),
        "one class": case(
            editing(LABELS, lambda lines: [lines[0], *(f"{i},cat" for i in range(1, 7))]),
            "all labels are 'cat'",
            "at least two classes",
        ),
    }


def sample_cases() -> dict[str, Case]:
    """Return the cases of sample submissions that cannot be used."""

    def case(spoil: Spoil, *words: str, rule: str = "labels") -> Case:
        return Case(spoil, (SAMPLE, *words), rule)

    return {
        "no sample submission's id for an image": case(
            editing(SAMPLE, lambda lines: lines[:-1]), "no row", "test image with id '4'", "again"
        ),
        "sample submission's id without an image": case(
            with_row(SAMPLE, "99,cat"), "row 3", "no test image with id '99'", "again"
        ),
        "sample submission's id twice": case(
            with_row(SAMPLE, "1,cat"), "row 3", "the id '1' is there twice", "remove one"
        ),
        "sample submission without a header": case(
            editing(SAMPLE, lambda lines: ["1,1", *lines[2:]]), "row 1", "not a header", "correct"
        ),
        "sample submission without labels": case(
            editing(SAMPLE, lambda lines: [line.partition(",")[0] for line in lines]),
            "row 1",
            "'id' is neither an id and a label nor",
            "again",
        ),
        "sample submission of other classes": case(
            editing(SAMPLE, lambda lines: ["id,cat,dog", *(f"{i},0,1" for i in range(1, 5))]),
            "row 1",
            "there is no column for classes 'airplane', 'automobile'",
            "again",
            rule="form",
        ),
        "sample submission that is empty": case(writing(SAMPLE, b""), "row 1", "not a header"),
        "sample submission in UTF-16 without a mark": case(
            encoding_as(SAMPLE, "utf-16-le"), "not text", "save it as UTF-8"
        ),
    }


# The folder of files


def in_the_place_of(name: str) -> Spoil:
    """Put a folder in the place of a file."""

    def spoil(raw: Path) -> None:
        (raw / name).unlink()
        (raw / name).mkdir()

    return spoil


def replacing_the_folder(raw: Path) -> None:
    """Put a file in the place of the folder."""
    shutil.rmtree(raw)
    raw.write_text("not a folder")


def folder_cases() -> dict[str, Case]:
    """Return the cases of folders that have not the files of the dataset."""

    def case(spoil: Spoil, *words: str) -> Case:
        return Case(spoil, words, "fetch")

    no_folder = ("raw_dir", "is not a folder", "correct the path")
    return {
        "no folder": case(shutil.rmtree, *no_folder),
        "file instead of the folder": case(replacing_the_folder, *no_folder),
        "no archive": case(lambda raw: (raw / "test.7z").unlink(), "test.7z", "does not exist"),
        "no table": case(lambda raw: (raw / LABELS).unlink(), LABELS, "does not exist"),
        "folder instead of an archive": case(in_the_place_of("test.7z"), "test.7z", "not exist"),
    }


CASES: dict[str, Case] = {
    **{f"{kind}: {name}": c for kind in KINDS for name, c in archive_cases(kind).items()},
    **{f"7z: {name}": case for name, case in seven_zip_cases().items()},
    **{f"zip: {name}": case for name, case in zip_cases().items()},
    **{f"tar.gz: {name}": case for name, case in tar_cases().items()},
    **image_cases(),
    **label_cases(),
    **sample_cases(),
    **folder_cases(),
}


# Unusual input


@dataclass(frozen=True)
class Unusual:
    """A way to change a folder of files that changes nothing else than the label of image 2.

    None stands for the label that it has anyway. `kind` is that of the archives.
    """

    change: Spoil
    label: str | None = None
    kind: str = "7z"


def linking_test_images(raw: Path) -> None:
    """Make the last test image a hard link to the one before."""
    with tarfile.open(raw / "test.tar.gz", "w:gz") as archive:
        for name, content in images("test").items():
            header = tarfile.TarInfo(name)
            if name == "test/4.png":
                header.type, header.linkname = tarfile.LNKTYPE, "test/3.png"
            else:
                header.size = len(content)
            archive.addfile(header, io.BytesIO(content))


def accepted() -> dict[str, Unusual]:
    """Return the cases of input that is unusual, and right."""

    def row(text: str, label: str | None = None) -> Unusual:
        return Unusual(with_row(LABELS, text), label)

    def labels(name: str) -> Unusual:
        return row(f"2,{name}", name)

    def separated_by(separator: str) -> Unusual:
        return Unusual(
            editing(LABELS, lambda lines: [line.replace(",", separator) for line in lines])
        )

    junk = [
        Member(name)
        for name in ("__MACOSX/test/._1.png", "test/._1.png", "test/.DS_Store", "test/Thumbs.db")
    ]
    junk.append(Member("test/.ipynb_checkpoints/1-checkpoint.png"))
    own = label_of(2, CLASSES[:2])
    renamed = own.replace(CLASSES[0], "Fähre")
    return {
        **{f"{kind} image": Unusual(replacing(saved_as(kind))) for kind in OTHER_FORMATS},
        **{f"{kind}: junk": Unusual(adding(kind, *junk), kind=kind) for kind in KINDS},
        "hard link behind its file": Unusual(linking_test_images, kind="tar.gz"),
        "UTF-16 labels": Unusual(encoding_as(LABELS, "utf-16"), renamed),
        "UTF-8 labels with a mark": Unusual(encoding_as(LABELS, "utf-8-sig"), renamed),
        "UTF-16 sample submission": Unusual(encoding_as(SAMPLE, "utf-16")),
        "semicolons": separated_by(";"),
        "tabs": separated_by("\t"),
        "spaces around values": separated_by(" , "),
        "blank lines at the end": Unusual(editing(LABELS, lambda lines: [*lines, "", ""])),
        "index column": Unusual(
            editing(LABELS, lambda lines: [f",{lines[0]}", *(f"0,{x}" for x in lines[1:])])
        ),
        "id with the ending": row(f"2.PNG,{own}"),
        "id with the path": row(f"train/2.png,{own}"),
        "id with a path that goes up": row(f"../input/train/2.png,{own}"),
        "id that a spreadsheet has changed": row(f"2.0,{own}"),
        "label that leads out of the folder": labels("../../../out"),
        "label that is an absolute path": labels("/tmp/out"),
        "label with a backslash": labels("a\\b"),
        "label that begins with a dot": labels(".hidden"),
        "label of dots": labels(".."),
        "label that is a command": labels("=cmd|' /C calc'!A0"),
        "label of 255 bytes": labels("x" * 255),
        "label in another script": labels("क्षत्रिय 犬"),
    }


ACCEPTED = accepted()
