"""Archives that come from strangers: read if they are sound, refused by name if not."""

import io
import os
import random
import stat
import struct
import tarfile
import zipfile
from pathlib import Path

import py7zr
import pytest

from builders import png_bytes, refused, rename_in_7z, write_archive, write_plain_7z
from imagepipe.archives import safety
from imagepipe.archives.reading import is_archive, read_archive
from imagepipe.errors import Stopped, UserError

KINDS = ("7z", "zip", "tar.gz", "tar.bz2", "tar.xz", "tar")
MEMBERS = {f"train/{number}.png": png_bytes(number) for number in range(1, 5)}


def read_all(archive: Path) -> dict[str, bytes]:
    return dict(read_archive(archive, lambda _: True))


def write_tar(path: Path, *members: tarfile.TarInfo) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for member in members:
            archive.addfile(member, io.BytesIO(b"x" * member.size))


def write_zip_member(path: Path, name: str, mode: int = 0) -> None:
    member = zipfile.ZipInfo(name)
    member.external_attr = mode << 16
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(member, "/etc/passwd")


@pytest.mark.parametrize("kind", KINDS)
def test_wanted_members_are_read_byte_for_byte(tmp_path: Path, kind: str) -> None:
    members = MEMBERS | {"empty.txt": b"", "labels.csv": b"id,label\n", "a b/ü.png": b"x"}
    archive = write_archive(tmp_path / f"train.{kind}", members)
    assert is_archive(archive.name)
    assert read_all(archive) == members
    assert list(read_archive(archive, lambda name: name.endswith(".csv"))) == [
        ("labels.csv", b"id,label\n")
    ]
    assert list(tmp_path.iterdir()) == [archive]  # nothing else is written


@pytest.mark.parametrize("kind", KINDS)
def test_missing_archive_is_named(tmp_path: Path, kind: str) -> None:
    with refused(str(tmp_path / f"train.{kind}")):
        read_all(tmp_path / f"train.{kind}")


@pytest.mark.parametrize("part", [0.0, 0.01, 0.3, 0.7])
@pytest.mark.parametrize("kind", KINDS)
def test_archive_that_is_cut_short_is_refused(tmp_path: Path, kind: str, part: float) -> None:
    archive = write_archive(tmp_path / f"train.{kind}", MEMBERS)
    content = archive.read_bytes()
    archive.write_bytes(content[: int(len(content) * part)])
    with refused(str(archive), "damaged, cut short or encrypted", "get the archive again"):
        read_all(archive)


@pytest.mark.parametrize("members", [1, 2, 3])
def test_tar_that_is_cut_between_its_members_is_refused(tmp_path: Path, members: int) -> None:
    archive = write_archive(tmp_path / "train.tar", MEMBERS)
    with tarfile.open(archive) as file:
        offset = file.getmembers()[members].offset
    for cut in (offset, offset + 100):
        archive.write_bytes(archive.read_bytes()[:cut])
        with refused(str(archive), "cut short"):
            read_all(archive)
        write_archive(archive, MEMBERS)


@pytest.mark.parametrize("kind", ["7z", "zip", "tar.gz", "tar.bz2", "tar.xz"])
def test_damaged_archive_never_passes_for_a_sound_one(tmp_path: Path, kind: str) -> None:
    """Of flipped bits, either none has an effect on what is read, or the archive is refused."""
    archive = write_archive(tmp_path / f"train.{kind}", MEMBERS)
    content = archive.read_bytes()
    draw = random.Random(0)
    number_refused = 0
    places = [draw.randrange(len(content)) for _ in range(30)]
    for place in [*places, *range(len(content) - 24, len(content))]:
        damaged = bytearray(content)
        damaged[place] ^= 1 << draw.randrange(8)
        archive.write_bytes(damaged)
        try:
            assert read_all(archive) == MEMBERS
        except UserError as error:
            assert str(archive) in str(error)
            assert "\n" not in str(error)
            number_refused += 1
    assert number_refused > 20


@pytest.mark.parametrize("kind", KINDS)
def test_file_that_is_no_archive_is_refused(tmp_path: Path, kind: str) -> None:
    archive = tmp_path / f"train.{kind}"
    archive.write_text("<html>Please log in to download train</html>\n" * 50)
    with refused(str(archive), "damaged"):
        read_all(archive)


@pytest.mark.parametrize("header_encryption", [False, True])
def test_encrypted_7z_is_refused(tmp_path: Path, header_encryption: bool) -> None:
    archive = tmp_path / "train.7z"
    with py7zr.SevenZipFile(
        archive, "w", password="secret", header_encryption=header_encryption
    ) as file:
        file.writestr(b"content", "train/1.png")
    with refused(str(archive), "is encrypted", "password"):
        read_all(archive)


def test_encrypted_zip_is_refused(tmp_path: Path) -> None:
    archive = write_archive(tmp_path / "train.zip", {"train/1.png": b"content"})
    content = bytearray(archive.read_bytes())
    for signature, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        place = content.index(signature) + offset
        content[place : place + 2] = struct.pack("<H", 1)
    archive.write_bytes(content)
    with refused(str(archive), "encrypted"):
        read_all(archive)


OUTSIDE = ["/etc/x.png", "../../x.png", "a/../../b.png", "C:/dir/x.png", "C:x.png", "..\\..\\x.png"]


@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.parametrize("kind", ["7z", "zip", "tar.gz"])
def test_member_that_points_out_of_the_folder_is_refused(
    tmp_path: Path, kind: str, name: str
) -> None:
    archive = tmp_path / f"train.{kind}"
    if kind == "7z":
        usual = "x" * len(name)
        write_plain_7z(archive, {usual: b"x"})
        rename_in_7z(archive, usual, name)
    elif kind == "zip":
        write_zip_member(archive, name)
    else:
        write_tar(archive, tarfile.TarInfo(name))
    with refused(str(archive), "outside", "trust"):
        read_all(archive)


@pytest.mark.parametrize(
    "file_type",
    [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE],
)
def test_link_or_device_in_a_tar_is_refused(tmp_path: Path, file_type: bytes) -> None:
    member = tarfile.TarInfo("train/1.png")
    member.type = file_type
    member.linkname = "/etc/passwd"
    write_tar(tmp_path / "train.tar.gz", member)
    with refused(str(tmp_path / "train.tar.gz"), "'train/1.png'", "link or a device"):
        read_all(tmp_path / "train.tar.gz")


@pytest.mark.parametrize("file_type", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO])
def test_link_or_device_in_a_zip_is_refused(tmp_path: Path, file_type: int) -> None:
    write_zip_member(tmp_path / "train.zip", "train/1.png", file_type | 0o777)
    with refused(str(tmp_path / "train.zip"), "'train/1.png'", "link or a device"):
        read_all(tmp_path / "train.zip")


def test_link_in_a_7z_is_refused(tmp_path: Path) -> None:
    link = tmp_path / "link"
    os.symlink("/etc/passwd", link)
    with py7zr.SevenZipFile(tmp_path / "train.7z", "w") as file:
        file.write(link, "train/1.png")
    with refused(str(tmp_path / "train.7z"), "'train/1.png'", "link or a device"):
        read_all(tmp_path / "train.7z")


@pytest.mark.parametrize("kind", ["7z", "zip", "tar.gz"])
def test_member_that_would_fill_the_memory_is_refused(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = write_archive(tmp_path / f"train.{kind}", {"bomb.png": bytes(1000)})
    monkeypatch.setattr(safety, "LARGEST_FILE", 999)
    with refused(str(archive), "'bomb.png'", "1,000 bytes"):
        read_all(archive)


def test_a_signal_that_comes_while_an_archive_is_read_is_no_damage(tmp_path: Path) -> None:
    with pytest.raises(Stopped, match="by a signal"), safety.damage_in_one_line(tmp_path / "a.zip"):
        raise Stopped("by a signal", 2)
