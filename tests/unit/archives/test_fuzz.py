"""Damage at random, from the archives to the packed arrays: the right content, or one line.

IMAGEPIPE_FUZZ_CASES and IMAGEPIPE_FUZZ_SEED, in the environment, make it more cases, or others.
"""

import csv
import io
import json
import os
import random
import shutil
import signal
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import numpy as np
import pytest
from PIL import Image

from builders import (
    dataset_options,
    label_of,
    pixels,
    png_bytes,
    write_archive,
    write_csv,
)
from imagepipe.config.dataset import Contents, Dataset
from imagepipe.config.dataset_files import table_names
from imagepipe.config.image_form import image_form
from imagepipe.dataset.deciding import decide_form
from imagepipe.dataset.extraction import extract, extract_tables
from imagepipe.dataset.labels import LabelOptions, match_labels
from imagepipe.dataset.packing import pack
from imagepipe.dataset.reorganising import reorganise
from imagepipe.dataset.splitting import write_split
from imagepipe.errors import UserError
from odd_archives import Member, write_odd_7z
from snapshots import snapshot

CASES = int(os.environ.get("IMAGEPIPE_FUZZ_CASES", "500"))
SEED = int(os.environ.get("IMAGEPIPE_FUZZ_SEED", "0"))
# A case takes some hundredths of a second. The clock goes on when a machine is busy with others.
MOST_SECONDS = 20
MOST_SECONDS_BY_THE_CLOCK = 300
SIZE = 8
TRAIN_IDS = tuple(map(str, range(1, 7)))
TEST_IDS = tuple(map(str, range(1, 5)))
MODES = ("RGB", "RGB", "P", "L", "RGBA", "1")
LABELS, SAMPLE = "trainLabels.csv", "sampleSubmission.csv"
ODD_BYTES = b"\0\xff\x7f\x80\"',;\n\r\t=/\\.0"


class TooLongError(BaseException):
    """Not an `Exception`, so that no one takes it for damage."""


@contextmanager
def limited_time() -> Iterator[None]:
    """Raise `TooLongError` in a block that does not end."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise TooLongError

    before = {number: signal.signal(number, stop) for number in (signal.SIGPROF, signal.SIGALRM)}
    signal.setitimer(signal.ITIMER_PROF, MOST_SECONDS)
    signal.setitimer(signal.ITIMER_REAL, MOST_SECONDS_BY_THE_CLOCK)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)


def damaged(draw: random.Random, whole: bytes) -> bytes:
    """Return a content with some bytes changed, cut off, put in, left out or put in twice."""
    content = bytearray(whole)
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        place = draw.randrange(len(content) or 1)
        length = draw.choice((1, 1, 2, 8, 64, 512))
        kind = draw.randrange(7)
        if kind == 0 and content:
            content[place] ^= 1 << draw.randrange(8)
        elif kind == 1 and content:
            content[place] = draw.choice(ODD_BYTES)
        elif kind == 2:
            del content[place:]
        elif kind == 3:
            content[place:place] = draw.randbytes(length)
        elif kind == 4:
            content[place:place] = bytes((draw.choice(ODD_BYTES),))
        elif kind == 5:
            del content[place : place + length]
        else:
            start = draw.randrange(len(content) or 1)
            content[place:place] = content[start : start + length]
    return bytes(content)


@dataclass(frozen=True)
class Packed:
    """What was packed: labels and pixels by the images' ids, and the places of dropped images."""

    labelled: dict[str, tuple[str, bytes]]
    test: dict[str, bytes]
    dropped: list[str]


def go_all_the_way(
    raw: Path, out: Path, dataset: Dataset, layout: str, on_bad_image: str
) -> Packed:
    """Go from archives to arrays, as the rules do, and read these without the library."""
    extracted = out / "extracted"
    tables = {name: extracted / name for name in table_names(dataset)}
    contents = dataset.part(Contents)
    extract(contents, raw, extracted, layout)
    extract_tables(contents, raw, tables)
    options = LabelOptions(
        labels=dataset.labels,
        sample_submission=dataset.sample_submission,
        on_bad_image=on_bad_image,
    )
    match_labels(extracted, out, options)
    decide_form(extracted, out, options)
    write_split(out / "labels.csv", out / "split.csv", 0.1, 0)
    if layout == "folders":
        reorganise(extracted, out / "split.csv", out / "test.csv", out / "tree")
    pack(
        extracted,
        out / "labels.csv",
        out / "test.csv",
        out / "packed",
        image_form([SIZE, SIZE], None, "squash"),
        on_bad_image=on_bad_image,
        archives=(contents, raw) if layout == "packed" else None,
    )
    rows = {}
    for name in ("labelled", "test"):
        with (out / f"packed/{name}.csv").open(encoding="utf-8", newline="") as file:
            table = list(csv.DictReader(file))
        array = np.load(out / f"packed/{name}.npy")
        assert len(table) == len(array)
        images = zip(table, array, strict=True)
        rows[name] = {row["id"]: (row["label"], image.tobytes()) for row, image in images}
        assert len(rows[name]) == len(table)
    decoded = json.loads((out / "packed/decoded.json").read_text(encoding="utf-8"))
    dropped = [one["image"] for one in decoded["labelled"]["undecodable"]]
    assert decoded["test"]["undecodable"] == []
    return Packed(rows["labelled"], {i: image for i, (_, image) in rows["test"].items()}, dropped)


def image_of(split: str, image_id: str, ending: str) -> bytes:
    """Return an image's file, of one of the kinds that there are."""
    seed = int(image_id) + (100 if split == "test" else 0)
    if ending == "png":
        return png_bytes(seed, SIZE, MODES[int(image_id) - 1])
    content = io.BytesIO()
    image = Image.fromarray(pixels(seed, SIZE)).convert("L" if seed % 3 == 0 else "RGB")
    image.save(content, format="JPEG", progressive=seed % 2 == 0)
    return content.getvalue()


@dataclass(frozen=True)
class Whole:
    """An undamaged dataset: its options, its files, its images by their places, and its arrays."""

    dataset: Dataset
    files: dict[str, bytes]
    images: dict[str, bytes]
    packed: Packed


def make_whole(folder: Path, kind: str, ending: str = "png") -> Whole:
    """Write an undamaged dataset below a folder, with archives of a kind, and pack it."""
    names = [f"train.{kind}", f"test.{kind}", LABELS, SAMPLE]
    files = [{"name": name} for name in names]
    dataset = dataset_options(files=files, image_size=SIZE)
    images = {
        f"{split}/{image_id}.{ending}": image_of(split, image_id, ending)
        for split, ids in (("train", TRAIN_IDS), ("test", TEST_IDS))
        for image_id in ids
    }
    raw = folder / "raw"
    for split in ("train", "test"):
        write_archive(raw / f"{split}.{kind}", members_of(split, images))
    labels = ((image_id, label_of(1 + int(image_id) % 2)) for image_id in TRAIN_IDS)
    write_csv(raw / LABELS, ("id", "label"), labels)
    write_csv(raw / SAMPLE, ("id", "label"), ((image_id, "cat") for image_id in TEST_IDS))
    packed = [
        go_all_the_way(raw, folder / layout, dataset, layout, "error")
        for layout in ("folders", "packed")
    ]
    assert packed[0] == packed[1]
    assert (tuple(packed[0].labelled), tuple(packed[0].test)) == (TRAIN_IDS, TEST_IDS)
    return Whole(dataset, {name: (raw / name).read_bytes() for name in names}, images, packed[0])


def members_of(split: str, images: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return those images that are of a split."""
    return {place: content for place, content in images.items() if place.startswith(split)}


@dataclass(frozen=True)
class Damage:
    """What may come out of damaged files, and what the message is to name if nothing does."""

    is_right: Callable[[Packed], bool]
    name: str = ""


def damage_archive(draw: random.Random, raw: Path, whole: Whole, drop: bool) -> Damage:
    """Damage an archive. Nothing but the right content may come out of it."""
    name = draw.choice(list(whole.files)[:2])
    (raw / name).write_bytes(damaged(draw, whole.files[name]))
    return Damage(lambda packed: packed == whole.packed)


def damage_table_of_7z(draw: random.Random, raw: Path, whole: Whole, drop: bool) -> Damage:
    """Damage the table of a .7z archive, and put its checksums right."""
    split = draw.choice(("train", "test"))
    path = raw / f"{split}.7z"
    write_odd_7z(path, [Member(*member) for member in members_of(split, whole.images).items()])
    content = path.read_bytes()
    offset, _, _ = struct.unpack("<QQI", content[12:32])
    table = damaged(draw, content[32 + offset :])
    start = struct.pack("<QQI", offset, len(table), zlib.crc32(table))
    checksum = struct.pack("<I", zlib.crc32(start))
    path.write_bytes(content[:8] + checksum + start + content[32 : 32 + offset] + table)
    return Damage(lambda packed: packed == whole.packed)


def damage_labels(draw: random.Random, raw: Path, whole: Whole, drop: bool) -> Damage:
    """Damage the table of labels. Each image has the label that Python's csv module reads."""
    content = damaged(draw, whole.files[LABELS])
    (raw / LABELS).write_bytes(content)

    def is_right(packed: Packed) -> bool:
        said = {i.removesuffix(".png"): label for i, label in columns(content, "id", "label")}
        expected = {i: said[i] for i in TRAIN_IDS if i in said}
        return (
            {i: label for i, (label, _) in packed.labelled.items()} == expected
            and all(packed.labelled[i][1] == whole.packed.labelled[i][1] for i in expected)
            and packed.test == whole.packed.test
            and (drop or said.keys() == {*TRAIN_IDS})
        )

    return Damage(is_right)


def damage_sample(draw: random.Random, raw: Path, whole: Whole, drop: bool) -> Damage:
    """Damage the sample submission. It is taken only if it has the test images' ids."""
    content = damaged(draw, whole.files[SAMPLE])
    (raw / SAMPLE).write_bytes(content)

    def is_right(packed: Packed) -> bool:
        ids = [next(iter(row)).removesuffix(".png") for row in columns(content)]
        return sorted(ids) == sorted(TEST_IDS) and packed == whole.packed

    return Damage(is_right)


def columns(content: bytes, *names: str) -> list[tuple[str, ...]]:
    """Return some columns of a table, or all, read by Python's csv module alone."""
    text = io.StringIO(content.decode("utf-8-sig"), newline="")
    header, *rows = ([field.strip() for field in row] for row in csv.reader(text))
    places = [header.index(name) for name in names or header]
    return [tuple(row[place] for place in places) for row in rows if any(row)]


def damage_image(draw: random.Random, raw: Path, whole: Whole, drop: bool) -> Damage:
    """Damage an image.

    Of a PNG file, which has checksums, nothing but the right pixels may come out; of a JPEG file,
    those that Pillow finds in it. A bad training image may be dropped.
    """
    place = draw.choice(list(whole.images))
    split, image_id = place.split(".")[0].split("/")
    content = damaged(draw, whole.images[place])
    kind = next(iter(whole.files)).partition(".")[2]
    images = whole.images | {place: content}
    write_archive(raw / f"{split}.{kind}", members_of(split, images))

    def is_right(packed: Packed) -> bool:
        labelled, test = dict(whole.packed.labelled), dict(whole.packed.test)
        if packed.dropped:
            del labelled[image_id]
            return drop and packed == Packed(labelled, test, [place])
        if place.endswith(".jpg"):
            with Image.open(io.BytesIO(content)) as image:
                pixels_found = image.convert("RGB").tobytes()
            if split == "train":
                labelled[image_id] = (labelled[image_id][0], pixels_found)
            else:
                test[image_id] = pixels_found
        return packed == Packed(labelled, test, [])

    return Damage(is_right, place.rpartition("/")[2])


# (the archives' kind, the images' ending, what is damaged, and how many of 100 cases there are)
KINDS: dict[str, tuple[str, str, Callable[[random.Random, Path, Whole, bool], Damage], int]] = {
    "7z": ("7z", "png", damage_archive, 14),
    "table of 7z": ("7z", "png", damage_table_of_7z, 10),
    "zip": ("zip", "png", damage_archive, 16),
    "tar.gz": ("tar.gz", "png", damage_archive, 10),
    "tar.xz": ("tar.xz", "png", damage_archive, 4),
    "tar": ("tar", "png", damage_archive, 6),
    "labels": ("zip", "png", damage_labels, 12),
    "sample submission": ("zip", "png", damage_sample, 6),
    "PNG": ("7z", "png", damage_image, 12),
    "JPEG": ("tar.gz", "jpg", damage_image, 10),
}


@pytest.mark.parametrize("kind", KINDS)
def test_damage_is_refused_or_does_no_harm(tmp_path: Path, kind: str) -> None:
    archives, ending, damage, share = KINDS[kind]
    whole = make_whole(tmp_path / "whole", archives, ending)
    # Deep enough that a path that goes up is still in the folder that is looked at.
    raw, out = tmp_path / "a/b/c/raw", tmp_path / "a/b/c/out"
    raw.mkdir(parents=True)
    refused = 0
    for number in range(CASES * share // 100):
        draw = random.Random(f"{SEED} {kind} {number}")
        for name, content in whole.files.items():
            (raw / name).write_bytes(content)
        drop = damage in (damage_labels, damage_image) and draw.random() < 0.5
        done = damage(draw, raw, whole, drop)
        before = snapshot(tmp_path, out)
        try:
            with limited_time():
                packed = go_all_the_way(
                    raw,
                    out,
                    whole.dataset,
                    layout=("folders", "packed")[number % 2],
                    on_bad_image="drop" if drop else "error",
                )
            assert done.is_right(packed)
        except UserError as error:
            assert str(error).isprintable()
            assert str(error).startswith(str(tmp_path))
            assert done.name in str(error)
            refused += 1
        except BaseException as error:
            error.add_note(f"{kind}, case {number} of seed {SEED}")
            raise
        assert snapshot(tmp_path, out) == before
        shutil.rmtree(out, ignore_errors=True)
    # Else it would not have been damage.
    assert refused > 0
