"""Archives that come from strangers: read if they are sound, refused by name if not."""

import io
import os
import random
import stat
import struct
import sys
import tarfile
import unicodedata
import zipfile
from pathlib import Path

import py7zr
import pytest

from builders import png_bytes, refused, rename_in_7z, write_archive, write_plain_7z
from imagepipe.archives import safety
from imagepipe.archives.reading import is_archive, open_archive, read_archive
from imagepipe.errors import Stopped, UserError
from odd_archives import Member, misname_last_of_zip, write_odd

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

KINDS = ("7z", "zip", "tar.gz", "tar.bz2", "tar.xz", "tar")
MORE_KINDS = {"tgz": "tar.gz", "txz": "tar.xz", "tbz2": "tar.bz2", "tbz": "tar.bz2"}
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


@pytest.mark.parametrize("kind", MORE_KINDS)
def test_short_endings_are_known(tmp_path: Path, kind: str) -> None:
    write_archive(tmp_path / f"train.{MORE_KINDS[kind]}", MEMBERS).rename(tmp_path / f"a.{kind}")
    assert is_archive(f"A.{kind.upper()}")
    assert read_all(tmp_path / f"a.{kind}") == MEMBERS


@pytest.mark.parametrize("kind", ["tar.zst", "tzst"])
def test_zstandard_is_read(tmp_path: Path, kind: str) -> None:
    content = write_archive(tmp_path / "train.tar", MEMBERS).read_bytes()
    archive = tmp_path / f"train.{kind}"
    packed = zstd.compress(content)
    archive.write_bytes(packed)
    assert read_all(archive) == MEMBERS
    archive.write_bytes(packed[:-100])
    with refused(str(archive), "damaged"):
        read_all(archive)


@pytest.mark.parametrize("kind", KINDS)
def test_names_are_nfc(tmp_path: Path, kind: str) -> None:
    archive = write_archive(tmp_path / f"a.{kind}", {unicodedata.normalize("NFD", "é.png"): b"x"})
    assert read_all(archive) == {"é.png": b"x"}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("café.png".encode(), "café.png"),
        ("cafe\u0301.png".encode(), "café.png"),
        (b"caf\x82.png", "café.png"),
    ],
    ids=["UTF-8", "UTF-8 in NFD", "cp437"],
)
def test_names_of_a_zip_without_a_flag_are_utf8_or_cp437(
    tmp_path: Path, name: bytes, expected: str
) -> None:
    archive = write_archive(tmp_path / "a.zip", {"x" * len(name): b"content"})
    misname_last_of_zip(archive, name)
    assert read_all(archive) == {expected: b"content"}


def hard_link(name: str, target: str) -> tarfile.TarInfo:
    link = tarfile.TarInfo(name)
    link.type, link.linkname = tarfile.LNKTYPE, target
    return link


def test_hard_links_in_a_tar_have_the_content_of_their_file(tmp_path: Path) -> None:
    archive = tmp_path / "a.tar.gz"
    with tarfile.open(archive, "w:gz") as file:
        for name in ("./a.png", "b.png"):
            member = tarfile.TarInfo(name)
            member.size = 1
            file.addfile(member, io.BytesIO(name[-5].encode()))
        for link in (hard_link("c.png", "./a.png"), hard_link("d.png", "c.png")):
            file.addfile(link)
    assert read_all(archive) == {"a.png": b"a", "b.png": b"b", "c.png": b"a", "d.png": b"a"}
    only = dict(read_archive(archive, lambda name: name in ("b.png", "d.png")))
    assert only == {"b.png": b"b", "d.png": b"a"}
    chunks = open_archive(archive, lambda _: True)
    assert [b"".join(one) for chunk in chunks for one in chunk.pieces()] == [b"a", b"a", b"a", b"b"]


@pytest.mark.parametrize("target", ["/etc/passwd", "../x.png", "later.png", "c.png"])
def test_hard_link_to_what_is_not_in_the_archive_is_refused(tmp_path: Path, target: str) -> None:
    archive = tmp_path / "a.tar.gz"
    write_tar(archive, hard_link("c.png", target), tarfile.TarInfo("later.png"))
    with refused(str(archive), "'c.png'", "link or a device"):
        read_all(archive)


@pytest.mark.parametrize("kind", ["7z", "zip", "tar.gz"])
def test_pieces_make_the_contents(tmp_path: Path, kind: str) -> None:
    members = MEMBERS | {"big": os.urandom(3_000_000), "empty": b"", "z": b"z"}
    archive = write_archive(tmp_path / f"a.{kind}", members)
    for wanted in (set(members), {"big", "z"}, {"empty"}, {"train/2.png", "z"}):
        found = {
            name: b"".join(pieces)
            for chunk in open_archive(archive, wanted.__contains__)
            for name, pieces in zip(chunk.names, chunk.pieces(), strict=True)
        }
        assert found == {name: members[name] for name in wanted}


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
def test_link_that_is_not_wanted_is_passed_over(tmp_path: Path, kind: str) -> None:
    archive = tmp_path / f"a.{kind}"
    link = Member("README", b"/etc/passwd", stat.S_IFLNK)
    write_odd(archive, [Member("1.png", b"1"), link, Member("z", b"z")])
    assert dict(read_archive(archive, lambda name: name != "README")) == {"1.png": b"1", "z": b"z"}
    with refused(str(archive), "'README'", "link or a device"):
        read_all(archive)


@pytest.mark.parametrize("names", [["../outside"], ["a", "a"], ["1.png"], ["1.png/a"]])
def test_names_of_links_that_are_not_wanted_are_checked(tmp_path: Path, names: list[str]) -> None:
    write_tar(
        tmp_path / "a.tar.gz", *(hard_link(n, "1.png") for n in names), tarfile.TarInfo("1.png")
    )
    with refused(str(tmp_path / "a.tar.gz"), names[0].partition("/")[0]):
        open_archive(tmp_path / "a.tar.gz", lambda _: False)


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
