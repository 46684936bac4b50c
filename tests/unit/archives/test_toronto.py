"""The Toronto archive: its images and labels, and that its pickles run nothing."""

import io
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from builders import (
    CLASSES,
    dataset_options,
    label_of,
    make_toronto,
    pixels,
    python2_pickle,
    refused,
    toronto_batch,
)
from imagepipe.config.dataset import Contents
from imagepipe.config.dataset_files import table_names
from imagepipe.dataset.extraction import extract, extract_tables

ARCHIVE = "cifar-10-python.tar.gz"


def extracted(tmp_path: Path) -> Path:
    dataset = dataset_options("cifar10_official")
    names = [*table_names(dataset), str(dataset.true_labels)]
    tables = {name: tmp_path / "out" / name for name in names}
    contents = dataset.part(Contents)
    extract(contents, tmp_path, tmp_path / "out")
    extract_tables(contents, tmp_path, tables)
    return tmp_path / "out"


def test_images_are_numbered_from_one_in_the_archives_order(tmp_path: Path) -> None:
    make_toronto(tmp_path, per_batch=3, test=4)
    folder = extracted(tmp_path)
    for split, number, first in (("train", 15, 0), ("test", 4, 10**6)):
        names = {path.name for path in (folder / split).iterdir()}
        assert names == {f"{n}.png" for n in range(1, number + 1)}
        for n in range(1, number + 1):
            with Image.open(folder / split / f"{n}.png") as image:
                assert (image.format, image.mode) == ("PNG", "RGB")
                assert np.array_equal(np.asarray(image), pixels(first + n))


@pytest.mark.parametrize(("table", "number"), [("trainLabels.csv", 20), ("testLabels.csv", 6)])
def test_labels_are_the_names_of_the_classes(tmp_path: Path, table: str, number: int) -> None:
    make_toronto(tmp_path)
    lines = (extracted(tmp_path) / table).read_text().splitlines()
    assert lines == ["id,label", *(f"{n},{label_of(n)}" for n in range(1, number + 1))]


@pytest.mark.parametrize("protocol", [2, 4])
def test_batches_that_python_3_has_written_are_read(tmp_path: Path, protocol: int) -> None:
    batch = toronto_batch([1, 2], [3, 4], "testing batch")
    make_toronto(tmp_path, changes={"test_batch": pickle.dumps(batch, protocol)})
    lines = (extracted(tmp_path) / "testLabels.csv").read_text().splitlines()
    assert lines == ["id,label", f"1,{CLASSES[3]}", f"2,{CLASSES[4]}"]


class RunsCode:
    """When it is unpickled naively, it makes the file whose path it was given."""

    def __init__(self, function: object, argument: str) -> None:
        self.reduced = (function, (argument,))

    def __reduce__(self) -> object:
        return self.reduced


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("member", ["batches.meta", "data_batch_3", "test_batch"])
def test_pickle_that_would_run_code_is_refused_and_does_not_run(
    tmp_path: Path, member: str, protocol: int
) -> None:
    target = tmp_path / "it ran"
    attack = pickle.dumps(RunsCode(os.system, f"touch '{target}'"), protocol)
    make_toronto(tmp_path, changes={member: attack})
    with refused(str(tmp_path / ARCHIVE), member, "system", "trust"):
        extracted(tmp_path)
    assert not target.exists()
    pickle.loads(attack)
    assert target.exists()  # the attack is a real one


@pytest.mark.parametrize(
    "function", [eval, exec, __import__, getattr, np.load, np.fromfile, np.save]
)
def test_pickle_that_calls_any_other_function_is_refused(tmp_path: Path, function: object) -> None:
    attack = pickle.dumps(RunsCode(function, "1"), 2)
    make_toronto(tmp_path, changes={"data_batch_1": attack})
    with refused(str(tmp_path / ARCHIVE), "data_batch_1", "trust"):
        extracted(tmp_path)


def changed_batch(**changes: object) -> dict[str, object]:
    batch = toronto_batch([1, 2], [3, 4], "testing batch") | changes
    return {key: value for key, value in batch.items() if value is not None}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"test_batch": None}, ["no test_batch"]),
        ({"batches.meta": None}, ["no batches.meta"]),
        ({"batches.meta": {"num_vis": 3072}}, ["batches.meta", "label_names"]),
        ({"test_batch": b"not a pickle"}, ["test_batch"]),
        ({"test_batch": python2_pickle(changed_batch())[:-700]}, ["test_batch"]),
        ({"test_batch": ["no", "mapping"]}, ["test_batch"]),
        ({"test_batch": changed_batch(labels=None)}, ["test_batch", "labels"]),
        ({"test_batch": changed_batch(labels=[1])}, ["test_batch", "32×32"]),
        ({"test_batch": changed_batch(labels=[1, 10])}, ["test_batch"]),
        ({"test_batch": changed_batch(labels=[1, -1])}, ["test_batch"]),
        ({"test_batch": changed_batch(labels=3)}, ["test_batch"]),
        ({"test_batch": changed_batch(data=None)}, ["test_batch", "data"]),
        ({"test_batch": changed_batch(data=[[1], [2]])}, ["test_batch"]),
        ({"test_batch": changed_batch(data=np.zeros((2, 3072)))}, ["test_batch"]),
        ({"test_batch": changed_batch(data=np.zeros((2, 300), np.uint8))}, ["test_batch"]),
    ],
)
def test_archive_that_is_not_what_its_page_describes_is_refused(
    tmp_path: Path, changes: dict[str, object], words: list[str]
) -> None:
    make_toronto(tmp_path, changes=changes)
    with refused(str(tmp_path / ARCHIVE), *words):
        extracted(tmp_path)


def test_builder_writes_the_opcodes_of_python_2() -> None:
    """Else the other tests would not show that the real archive can be read."""
    content = python2_pickle(toronto_batch([1], [2], "a batch"))
    assert b"cnumpy.core.multiarray\n_reconstruct\n" in content
    assert content.startswith(b"\x80\x02")
    for text in (b"labels", b"data", b"a batch"):
        assert b"U" + bytes([len(text)]) + text in content  # SHORT_BINSTRING, gone in Python 3
    loaded = pickle.Unpickler(io.BytesIO(content), encoding="bytes").load()
    assert loaded[b"filenames"] == [b"image_s_000001.png"]
