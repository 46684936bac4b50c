"""Small data in the real formats, for the tests: the same arguments give the same content.

Nothing is drawn or downloaded: images are 32×32 noise. A label depends on the image's number
alone (see `label_of`), so that the expected result is known without reading a file back.
"""

import bz2
import csv
import gzip
import io
import json
import lzma
import os
import pickle
import re
import struct
import subprocess
import sys
import tarfile
import tempfile
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import py7zr
import pytest
import yaml
from PIL import Image

from imagepipe.config.configuration import merge
from imagepipe.config.dataset import Dataset
from imagepipe.dataset.fitting import Target, add_borders, resize
from imagepipe.errors import UserError

REPOSITORY = Path(__file__).resolve().parents[1]
WORKFLOW = REPOSITORY / "workflow"
SCRIPTS = WORKFLOW / "scripts"

# CIFAR-10's, in the order of the Toronto archive's batches.meta.
CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
# As in the book's kaggle_cifar10_tiny.zip, test ids need not follow one another.
SCATTERED_IDS = ("3", "44", "127", "1000", "20005")
# Ways to compress a .7z archive, as py7zr takes them.
SEVEN_ZIP_FILTERS: dict[str, list[dict[str, Any]]] = {
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
# Of the members of archives, so that they have the same bytes whenever they are made.
MEMBER_TIME = 10**9


@contextmanager
def refused(*words: str) -> Iterator[pytest.ExceptionInfo[UserError]]:
    """Expect a `UserError` of one line that has all the `words` and says what to do.

    The library writes "<file>: <what is wrong>; <what to do>", or what a value "must be".
    """
    with pytest.raises(UserError) as raised:
        yield raised
    message = str(raised.value)
    assert len(message.splitlines()) == 1, message
    for word in words:
        assert word in message
    assert re.search(r"; | must be |did you mean|known:", message), f"no remedy: {message}"


@contextmanager
def served(handler: Callable[..., BaseHTTPRequestHandler]) -> Iterator[str]:
    """Answer HTTP requests on this machine for a while, and give the address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def label_of(number: int, classes: Sequence[str] = CLASSES) -> str:
    """Return the label of the image with a number from 1: the classes in turn."""
    return classes[(number - 1) % len(classes)]


def pixels(seed: int, size: int = 32) -> np.ndarray:
    """Return noise, uint8 [size, size, 3], that differs for each seed."""
    return np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)


def png_bytes(seed: int, size: int = 32, mode: str = "RGB") -> bytes:
    """Return a PNG file of noise; `mode` is one of Pillow's, such as RGB, L, P or RGBA."""
    image = Image.fromarray(pixels(seed, size))
    if mode == "RGBA":
        image.putalpha(Image.fromarray(pixels(seed + 1, size)[:, :, 0]))
    content = io.BytesIO()
    image.convert(mode).save(content, format="PNG", compress_level=1)
    return content.getvalue()


def fit_image(image: Image.Image, target: Target) -> Image.Image:
    """Return an image of mode L or RGB in the target's size."""
    return add_borders(resize(image, target), target)


def write_png(path: Path, seed: int, size: int = 32, mode: str = "RGB") -> None:
    """Write `png_bytes` to a file, whose folder is made if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png_bytes(seed, size, mode))


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a CSV file with \\n line ends, as Kaggle's are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def write_archive(path: Path, members: Mapping[str, bytes]) -> Path:
    """Write a .7z, .zip or .tar.* archive of {member name: content} and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".7z":
        # py7zr takes times from files, and the clock's time for bytes in memory.
        filters = [{"id": lzma.FILTER_LZMA2, "preset": 0}]
        with (
            tempfile.NamedTemporaryFile() as temporary,
            py7zr.SevenZipFile(path, "w", filters=filters) as archive,
        ):
            for name, content in members.items():
                Path(temporary.name).write_bytes(content)
                os.utime(temporary.name, (MEMBER_TIME, MEMBER_TIME))
                archive.write(temporary.name, name)
    elif path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members.items():
                archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    else:
        unpacked = io.BytesIO()
        with tarfile.open(fileobj=unpacked, mode="w") as archive:
            for name, content in members.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
        pack = {
            ".tar": bytes,
            ".gz": lambda content: gzip.compress(content, mtime=MEMBER_TIME),
            ".bz2": bz2.compress,
            ".xz": lzma.compress,
        }
        path.write_bytes(pack[path.suffix](unpacked.getvalue()))
    return path


def rename_in_7z(path: Path, old: str, new: str) -> None:
    """Rename a member of a .7z archive to a name of the same length that py7zr refuses to write.

    The archive must have been written with `write_plain_7z`.
    """
    content = path.read_bytes()
    old_bytes, new_bytes = (f"{name}\0".encode("utf-16-le") for name in (old, new))
    assert len(old_bytes) == len(new_bytes)
    assert content.count(old_bytes) == 1
    start, rest = content[12:32], content[32:].replace(old_bytes, new_bytes)
    offset, size, _ = struct.unpack("<QQI", start)
    start = struct.pack("<QQI", offset, size, zlib.crc32(rest[offset : offset + size]))
    path.write_bytes(content[:8] + struct.pack("<I", zlib.crc32(start)) + start + rest)


def write_plain_7z(path: Path, members: Mapping[str, bytes]) -> None:
    """Write a .7z archive whose table of contents is not compressed."""
    with py7zr.SevenZipFile(path, "w") as archive:
        archive.set_encoded_header_mode(False)
        for name, content in members.items():
            archive.writestr(content, name)


def dataset_options(name: str = "cifar10", **changes: Any) -> Dataset:
    """Return a shipped dataset file with single keys changed."""
    content = yaml.safe_load((WORKFLOW / f"datasets/{name}.yaml").read_text(encoding="utf-8"))
    return Dataset.checked(merge(content, changes), name)


@dataclass(frozen=True)
class Competition:
    """What a builder has written: the labels of the training images, and the test images' ids."""

    label_of: dict[str, str]
    test_ids: tuple[str, ...]


def make_competition(
    folder: Path,
    train: int = 30,
    test: int = 20,
    layout: str = "{split}/{id}.png",
    test_ids: Sequence[str] | None = None,
    classes: Sequence[str] = CLASSES,
) -> Competition:
    """Write Kaggle's train.7z, test.7z, trainLabels.csv and sampleSubmission.csv into `folder`.

    `layout` is a member's name in both archives. `test_ids` (the numbers 1 to `test` if not
    given) are the test images in the order of the sample submission. Together with `raw_dir` set
    to the folder, it is the dataset `cifar10`.
    """
    ids = tuple(test_ids or map(str, range(1, test + 1)))
    labels = {str(number): label_of(number, classes) for number in range(1, train + 1)}
    members = {
        "train": {layout.format(split="train", id=i): png_bytes(int(i)) for i in labels},
        "test": {layout.format(split="test", id=i): png_bytes(10**6 + int(i)) for i in ids},
    }
    for split, images in members.items():
        write_archive(folder / f"{split}.7z", images)
    write_csv(folder / "trainLabels.csv", ("id", "label"), labels.items())
    write_csv(folder / "sampleSubmission.csv", ("id", "label"), ((i, classes[0]) for i in ids))
    return Competition(labels, ids)


def make_tiny_zip(
    folder: Path, train: int = 20, test_ids: Sequence[str] = SCATTERED_IDS
) -> Competition:
    """Write the book's kaggle_cifar10_tiny.zip, images and trainLabels.csv in one archive.

    Together with `raw_dir` set to the folder, it is the dataset `cifar10_tiny`.
    """
    labels = {str(number): label_of(number) for number in range(1, train + 1)}
    table = "".join(f"{row}\n" for row in ("id,label", *map(",".join, labels.items())))
    members = {f"train/{i}.png": png_bytes(int(i)) for i in labels}
    members |= {f"test/{i}.png": png_bytes(10**6 + int(i)) for i in test_ids}
    members["trainLabels.csv"] = table.encode()
    top = {f"kaggle_cifar10_tiny/{name}": content for name, content in members.items()}
    write_archive(folder / "kaggle_cifar10_tiny.zip", top)
    return Competition(labels, tuple(sorted(test_ids, key=int)))


class Python2Pickler(pickle._Pickler):
    """Writes text and bytes as Python 2's `str`, as the pickles of the Toronto archive have it."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def save_python2_str(self, value: str | bytes) -> None:
        content = value.encode("ascii") if isinstance(value, str) else value
        if len(content) < 256:
            self.write(pickle.SHORT_BINSTRING + struct.pack("<B", len(content)) + content)
        else:
            self.write(pickle.BINSTRING + struct.pack("<i", len(content)) + content)
        self.memoize(value)

    dispatch[bytes] = dispatch[str] = save_python2_str


def python2_pickle(value: object) -> bytes:
    """Return a pickle of protocol 2 as Python 2 and its NumPy wrote it."""
    output = io.BytesIO()
    Python2Pickler(output, protocol=2).dump(value)
    return output.getvalue().replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")


def toronto_batch(seeds: Sequence[int], numbers: Sequence[int], title: str) -> dict[str, Any]:
    """Return the content of a batch: the images `pixels(seed)` with the numbers of their classes.

    Each row of `data` is an image's red, green and blue plane.
    """
    rows = [pixels(seed).transpose(2, 0, 1).reshape(-1) for seed in seeds]
    return {
        "batch_label": title,
        "labels": list(numbers),
        "data": np.stack(rows),
        "filenames": [f"image_s_{seed:06d}.png" for seed in seeds],
    }


def make_toronto(
    folder: Path, per_batch: int = 4, test: int = 6, changes: Mapping[str, object] | None = None
) -> Competition:
    """Write the Toronto archive cifar-10-python.tar.gz, in the format of its page.

    Training image n is `pixels(n)`, test image n `pixels(10**6 + n)`; their labels are
    `label_of(n)`. `changes` puts other bytes, or pickles of other values, in the place of members
    ("test_batch": …), or leaves one out (None). Together with `raw_dir` set to the folder, it is
    the dataset `cifar10_official`.
    """
    members: dict[str, object] = {
        "batches.meta": {
            "num_cases_per_batch": per_batch,
            "label_names": list(CLASSES),
            "num_vis": 3072,
        }
    }
    for batch in range(5):
        numbers = range(batch * per_batch + 1, (batch + 1) * per_batch + 1)
        members[f"data_batch_{batch + 1}"] = toronto_batch(
            numbers, [(n - 1) % 10 for n in numbers], f"training batch {batch + 1} of 5"
        )
    numbers = range(1, test + 1)
    members["test_batch"] = toronto_batch(
        [10**6 + n for n in numbers], [(n - 1) % 10 for n in numbers], "testing batch 1 of 1"
    )
    members |= changes or {}
    contents = {
        f"cifar-10-batches-py/{name}": value if isinstance(value, bytes) else python2_pickle(value)
        for name, value in members.items()
        if value is not None
    }
    write_archive(folder / "cifar-10-python.tar.gz", contents)
    labels = {str(n): label_of(n) for n in range(1, 5 * per_batch + 1)}
    return Competition(labels, tuple(map(str, numbers)))


def make_extracted(
    folder: Path, labels: Mapping[str, str], test_ids: Sequence[str] = ("1", "2")
) -> None:
    """Write what the rule `extract` makes, without archives: images, tables and manifest.tsv.

    Training image i is `png_bytes(int(i))`, test image i `png_bytes(10**6 + int(i))`.
    """
    rows: list[tuple[str, int, str, int]] = []
    for split, ids, first in (("train", labels, 0), ("test", test_ids, 10**6)):
        for image_id in ids:
            content = png_bytes(first + int(image_id))
            path = folder / split / f"{image_id}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            checksum = f"{zlib.crc32(content):08x}"
            rows.append((f"{split}/{path.name}", len(content), checksum, len(rows)))
    lines = ["path\tbytes\tcrc32\tnumber", *("\t".join(map(str, row)) for row in rows)]
    (folder / "manifest.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    write_csv(folder / "trainLabels.csv", ("id", "label"), labels.items())
    write_csv(folder / "sampleSubmission.csv", ("id", "label"), ((i, "cat") for i in test_ids))


def make_packed(folder: Path, rows: Sequence[tuple[str, str, str, int]]) -> None:
    """Write what the rules `labels`, `split` and `pack` make into `folder`.

    A row is an image's id, label, split (train, valid or test) and the seed of its `pixels`.
    """
    (folder / "packed").mkdir(parents=True, exist_ok=True)
    labelled = [row for row in rows if row[2] != "test"]
    test = [row for row in rows if row[2] == "test"]
    for name, part in (("labelled", labelled), ("test", test)):
        images = np.array([pixels(seed) for *_, seed in part], dtype=np.uint8)
        np.save(folder / f"packed/{name}.npy", images.reshape(len(part), 32, 32, 3))
        table = ((number, *row[:2]) for number, row in enumerate(part))
        write_csv(folder / f"packed/{name}.csv", ("row", "id", "label"), table)
    write_csv(folder / "split.csv", ("id", "label", "split"), (row[:3] for row in labelled))
    decoded = {
        name: {"formats": {"PNG RGB 32×32": len(part)}, "undecodable": [], "salvaged": []}
        for name, part in (("labelled", labelled), ("test", test))
    }
    (folder / "packed/decoded.json").write_text(json.dumps(decoded), encoding="utf-8")
    classes = sorted({label for _, label, _, _ in labelled})
    (folder / "classes.txt").write_text("".join(f"{c}\n" for c in classes), encoding="utf-8")
    write_csv(folder / "unmatched.csv", ("id", "problem"), [])


def make_kaggle(real_data: Path, folder: Path, *arguments: str) -> None:
    """Build the competition's four files by the script that lies beside the images."""
    script = real_data / "make_kaggle.py"
    subprocess.run([sys.executable, str(script), "--out", str(folder), *arguments], check=True)
