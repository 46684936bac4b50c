"""Blocks of .7z archives, in whatever way they are compressed."""

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import py7zr
import pytest

from builders import SEVEN_ZIP_FILTERS, png_bytes, refused
from imagepipe.archives import safety, seven_zip, seven_zip_listing
from imagepipe.archives.chunk import Chunk
from imagepipe.archives.reading import open_archive, read_archive
from imagepipe.archives.seven_zip import cut

MEMBERS = {f"train/{number}.png": png_bytes(number) for number in range(1, 8)}
MEMBERS |= {"train/empty.txt": b"", "train/large.csv": b"id,label\n" * 20_000}


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
    return dict(read_archive(path, lambda _: True))


def contents_of(chunk: Chunk) -> dict[str, bytes]:
    return {n: content for n, (content, _) in zip(chunk.names, chunk.read(), strict=True)}


@pytest.mark.parametrize("piece_size", [1 << 22, 700])
@pytest.mark.parametrize("method", SEVEN_ZIP_FILTERS)
def test_every_method_is_read(
    tmp_path: Path, method: str, piece_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seven_zip, "PIECE_SIZE", piece_size)
    archive = write_blocks(tmp_path / "a.7z", [MEMBERS], SEVEN_ZIP_FILTERS[method])
    assert everything(archive) == MEMBERS


def test_each_block_is_a_chunk_of_its_own(tmp_path: Path) -> None:
    blocks = [{f"train/{b}{n}.png": png_bytes(10 * b + n) for n in range(5)} for b in range(3)]
    archive = write_blocks(tmp_path / "a.7z", blocks)
    chunks = open_archive(archive, lambda _: True)
    assert [chunk.names for chunk in chunks] == [list(block) for block in blocks]
    # In any order, and one without the others.
    for chunk, block in reversed(list(zip(chunks, blocks, strict=True))):
        assert contents_of(chunk) == block


def test_only_what_is_wanted_is_handed_over(tmp_path: Path) -> None:
    archive = write_blocks(tmp_path / "a.7z", [MEMBERS, {"test/1.png": b"other"}])
    wanted = {"train/3.png", "train/7.png", "train/empty.txt"}
    found = dict(read_archive(archive, lambda name: name in wanted))
    assert found == {name: MEMBERS[name] for name in wanted}


def test_sizes_and_checksums_are_known_before_reading(tmp_path: Path) -> None:
    (chunk,) = open_archive(write_blocks(tmp_path / "a.7z", [MEMBERS]), lambda n: n.endswith("png"))
    for name, size, known, (content, checksum) in zip(
        chunk.names, chunk.sizes, chunk.checksums, chunk.read(), strict=True
    ):
        assert (size, known) == (len(MEMBERS[name]), checksum)
        assert content == MEMBERS[name]


@pytest.mark.parametrize("is_compressed", [True, False])
def test_listing_with_one_byte_changed_is_refused(tmp_path: Path, is_compressed: bool) -> None:
    archive = tmp_path / "a.7z"
    with py7zr.SevenZipFile(archive, "w", filters=SEVEN_ZIP_FILTERS["copy"]) as file:
        file.set_encoded_header_mode(is_compressed)
        file.writestr(b"content", "train/1.png")
    content = archive.read_bytes()
    position = content.index("1.png".encode("utf-16-le")) if not is_compressed else 32 + 7 + 20
    changed = bytes([content[position] ^ 1])
    archive.write_bytes(content[:position] + changed + content[position + 1 :])
    with refused(str(archive), "get the archive again"):
        open_archive(archive, lambda _: True)


@pytest.mark.parametrize("lengths", [[10], [3, 3, 4], [1] * 10, [9, 1], [4, 6]])
def test_stream_is_cut_wherever_its_pieces_end(lengths: list[int]) -> None:
    stream = os.urandom(10)
    ends = [sum(lengths[: n + 1]) for n in range(len(lengths))]
    pieces = [stream[end - length : end] for end, length in zip(ends, lengths, strict=True)]
    # In turn to skip and to take.
    assert list(cut(iter(pieces), [0, 2, 0, 0, 0, 5, 0, 3])) == [
        *(stream[:2], b"", stream[2:7], stream[7:])
    ]
    assert list(cut(iter(pieces), [3, 1, 4, 2])) == [stream[3:4], stream[8:]]
    for lengths_too_long in ([0, 11], [11, 0]):
        with pytest.raises(EOFError):
            list(cut(iter(pieces), lengths_too_long))


def test_content_of_what_says_it_is_a_folder_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = tmp_path / "a.7z"
    with py7zr.SevenZipFile(archive, "w") as file:
        file.writestr(bytes(2_000), "big")
        file.writestr(b"content", "train/1.png")
    monkeypatch.setattr(safety, "HARMLESS_SIZE", 1_999)
    monkeypatch.setattr(safety, "LARGEST_RATIO", 1)
    kinds = iter([seven_zip_listing.Kind.FOLDER, seven_zip_listing.Kind.FILE])
    monkeypatch.setattr(seven_zip_listing, "kind_of", lambda _: next(kinds))
    with refused(str(archive), "unpacks to more than"):
        open_archive(archive, lambda _: True)
