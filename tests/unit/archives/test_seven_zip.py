"""Blocks of .7z archives, in whatever way they are compressed."""

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import py7zr
import pytest

from builders import png_bytes, refused
from imagepipe.archives import seven_zip, seven_zip_table
from imagepipe.archives.readers import checked, parts_of
from imagepipe.archives.seven_zip import cut

MEMBERS = {f"train/{number}.png": png_bytes(number) for number in range(1, 8)}
MEMBERS |= {"train/empty.txt": b"", "train/large.csv": b"id,label\n" * 20_000}
METHODS: dict[str, list[dict[str, Any]]] = {
    "LZMA2": [{"id": py7zr.FILTER_LZMA2, "preset": 1}],
    "LZMA": [{"id": py7zr.FILTER_LZMA}],
    "x86 and LZMA2": [{"id": py7zr.FILTER_X86}, {"id": py7zr.FILTER_LZMA2, "preset": 1}],
    "x86 and LZMA": [{"id": py7zr.FILTER_X86}, {"id": py7zr.FILTER_LZMA}],
    "delta and LZMA2": [
        {"id": py7zr.FILTER_DELTA, "dist": 3},
        {"id": py7zr.FILTER_LZMA2, "preset": 1},
    ],
    "BZip2": [{"id": py7zr.FILTER_BZIP2}],
    "Deflate": [{"id": py7zr.FILTER_DEFLATE}],
    "Zstandard": [{"id": py7zr.FILTER_ZSTD}],
    "copy": [{"id": py7zr.FILTER_COPY}],
}


def write_blocks(
    path: Path, blocks: Sequence[Mapping[str, bytes]], filters: list[dict[str, Any]] | None = None
) -> Path:
    """Write an archive of several blocks, each of which is compressed by itself."""
    with tempfile.TemporaryDirectory() as folder:
        for number, members in enumerate(blocks):
            with py7zr.SevenZipFile(path, "a" if number else "w", filters=filters) as archive:
                for name, content in members.items():
                    file = Path(folder, "member")
                    file.write_bytes(content)
                    archive.write(file, name)
    return path


def everything(path: Path) -> dict[str, bytes]:
    parts = parts_of(path, lambda _: True)
    return {name: content for part in parts for name, content, _ in checked(part)}


@pytest.mark.parametrize("piece_size", [1 << 22, 700])
@pytest.mark.parametrize("method", METHODS)
def test_every_method_is_read(
    tmp_path: Path, method: str, piece_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seven_zip, "PIECE_SIZE", piece_size)
    archive = write_blocks(tmp_path / "a.7z", [MEMBERS], METHODS[method])
    assert everything(archive) == MEMBERS


def test_each_block_is_a_part_of_its_own(tmp_path: Path) -> None:
    blocks = [{f"train/{b}{n}.png": png_bytes(10 * b + n) for n in range(5)} for b in range(3)]
    archive = write_blocks(tmp_path / "a.7z", blocks)
    parts = parts_of(archive, lambda _: True)
    assert [list(part.names) for part in parts] == [list(block) for block in blocks]
    # In any order, and one without the others.
    for part, block in reversed(list(zip(parts, blocks, strict=True))):
        assert {name: content for name, content, _ in checked(part)} == block


def test_only_what_is_wanted_is_handed_over(tmp_path: Path) -> None:
    archive = write_blocks(tmp_path / "a.7z", [MEMBERS, {"test/1.png": b"other"}])
    wanted = {"train/3.png", "train/7.png", "train/empty.txt"}
    parts = parts_of(archive, lambda name: name in wanted)
    found = {name: content for part in parts for name, content, _ in checked(part)}
    assert found == {name: MEMBERS[name] for name in wanted}


def test_sizes_and_checksums_are_known_before_reading(tmp_path: Path) -> None:
    (part,) = parts_of(write_blocks(tmp_path / "a.7z", [MEMBERS]), lambda n: n.endswith("png"))
    for (name, content, checksum), size, known in zip(
        checked(part), part.sizes, part.checksums, strict=True
    ):
        assert (size, known) == (len(MEMBERS[name]), checksum)
        assert content == MEMBERS[name]


def listed_by_py7zr(archive: Path) -> list[tuple[str, int, int | None]]:
    with py7zr.SevenZipFile(archive) as file:
        return sorted(
            (member.filename, member.uncompressed, member.crc32)
            for member in file.files
            if member.is_file
        )


def listed(archive: Path) -> list[tuple[str, int, int | None]]:
    return sorted(
        row
        for part in parts_of(archive, lambda _: True)
        for row in zip(part.names, part.sizes, part.checksums, strict=True)
    )


@pytest.mark.parametrize("piece_size", [1 << 16, 12])
@pytest.mark.parametrize("is_compressed", [True, False])
def test_table_says_what_py7zr_reads_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_compressed: bool, piece_size: int
) -> None:
    """With sizes of one to four bytes, and pieces that end anywhere."""
    monkeypatch.setattr(seven_zip_table, "PIECE_SIZE", piece_size)
    archive = tmp_path / "a.7z"
    (tmp_path / "empty").mkdir()
    with py7zr.SevenZipFile(archive, "w", filters=METHODS["copy"]) as file:
        file.set_encoded_header_mode(is_compressed)
        file.write(tmp_path / "empty", "train/folder")
        for size in (1, 127, 128, 16_383, 16_384, 70_000, 3_000_000, 0, 5):
            file.writestr(os.urandom(size), f"train/ünï {size}.png")
    # py7zr has the empty file without a checksum, as this does.
    assert listed(archive) == listed_by_py7zr(archive)
    assert len(listed(archive)) == 9


@pytest.mark.parametrize("is_compressed", [True, False])
def test_table_with_one_byte_changed_is_refused(tmp_path: Path, is_compressed: bool) -> None:
    archive = tmp_path / "a.7z"
    with py7zr.SevenZipFile(archive, "w", filters=METHODS["copy"]) as file:
        file.set_encoded_header_mode(is_compressed)
        file.writestr(b"content", "train/1.png")
    content = archive.read_bytes()
    place = content.index("1.png".encode("utf-16-le")) if not is_compressed else 32 + 7 + 20
    changed = bytes([content[place] ^ 1])
    archive.write_bytes(content[:place] + changed + content[place + 1 :])
    with refused(str(archive), "get the archive again"):
        parts_of(archive, lambda _: True)


@pytest.mark.parametrize("lengths", [[10], [3, 3, 4], [1] * 10, [9, 1], [4, 6]])
def test_stream_is_cut_wherever_its_pieces_end(lengths: list[int]) -> None:
    stream = os.urandom(10)
    ends = [sum(lengths[: n + 1]) for n in range(len(lengths))]
    pieces = [stream[end - length : end] for end, length in zip(ends, lengths, strict=True)]
    sizes = [2, 0, 5, 3]
    assert list(cut(iter(pieces), sizes)) == [stream[:2], b"", stream[2:7], stream[7:]]
    with pytest.raises(EOFError):
        list(cut(iter(pieces), [11]))
