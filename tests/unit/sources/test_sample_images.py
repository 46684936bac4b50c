"""The dataset `sample`: its file formats, its reproducibility, and that it is worth learning."""

import csv
import io
import tempfile
from collections import Counter
from pathlib import Path
from random import Random

import numpy
import py7zr
import pytest
from PIL import Image

from builders import dataset_options
from imagepipe.sources.sample_images import CLASSES, draw_image, draw_labels, write_sample

ANIMALS = ["bird", "cat", "deer", "dog", "frog", "horse"]
VEHICLES = ["airplane", "automobile", "ship", "truck"]
FILES = ["sampleSubmission.csv", "test.7z", "testLabels.csv", "train.7z", "trainLabels.csv"]


def read_members(archive_file: Path) -> dict[str, bytes]:
    """Return the contents of an archive by member name, in the archive's order."""
    with tempfile.TemporaryDirectory() as folder, py7zr.SevenZipFile(archive_file) as archive:
        archive.extractall(folder)
        return {name: Path(folder, name).read_bytes() for name in archive.getnames()}


def read_labels(label_file: Path) -> list[tuple[str, str]]:
    """Return the (id, label) pairs of a file after checking its header."""
    with label_file.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["id", "label"]
    return [(number, label) for number, label in rows]


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a sample of 43 train and 25 test images."""
    folder = tmp_path_factory.mktemp("sample")
    write_sample(folder, train_images=43, test_images=25, seed=5)
    return folder


def test_classes_are_those_of_cifar_10() -> None:
    assert list(CLASSES) == sorted(ANIMALS + VEHICLES)


def test_sample_consists_of_the_expected_files(sample: Path) -> None:
    assert sorted(path.name for path in sample.iterdir()) == FILES


@pytest.mark.parametrize(("split", "number"), [("train", 43), ("test", 25)])
def test_archive_holds_small_rgb_images_named_by_id(sample: Path, split: str, number: int) -> None:
    members = read_members(sample / f"{split}.7z")
    assert list(members) == [f"{split}/{index}.png" for index in range(1, number + 1)]
    for content in members.values():
        with Image.open(io.BytesIO(content)) as image:
            assert (image.format, image.mode, image.size) == ("PNG", "RGB", (32, 32))


@pytest.mark.parametrize(("name", "number"), [("trainLabels.csv", 43), ("testLabels.csv", 25)])
def test_labels_are_numbered_from_one_and_balanced(sample: Path, name: str, number: int) -> None:
    rows = read_labels(sample / name)
    assert [row[0] for row in rows] == [str(index) for index in range(1, number + 1)]
    counts = Counter(row[1] for row in rows)
    assert set(counts) == set(CLASSES)
    assert max(counts.values()) - min(counts.values()) <= 1


def test_labels_are_in_random_order(sample: Path) -> None:
    labels = [label for _, label in read_labels(sample / "trainLabels.csv")]
    assert labels[:10] != labels[10:20]
    assert labels[:10] != list(CLASSES)


def test_sample_submission_has_every_test_id_and_one_label(sample: Path) -> None:
    expected = [(str(index), "cat") for index in range(1, 26)]
    assert read_labels(sample / "sampleSubmission.csv") == expected


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith(".csv")])
def test_csv_lines_end_with_a_newline_alone(sample: Path, name: str) -> None:
    content = (sample / name).read_bytes()
    assert content.endswith(b"\n")
    assert b"\r" not in content


def test_label_belongs_to_the_drawing(sample: Path) -> None:
    members = read_members(sample / "train.7z")
    for number, label in read_labels(sample / "trainLabels.csv"):
        with Image.open(io.BytesIO(members[f"train/{number}.png"])) as image:
            expected = draw_image(label, Random(f"5/train/{number}"))
            assert image.tobytes() == expected.tobytes()


def test_same_arguments_give_the_same_bytes(sample: Path, tmp_path: Path) -> None:
    write_sample(tmp_path, train_images=43, test_images=25, seed=5)
    for name in FILES:
        assert (tmp_path / name).read_bytes() == (sample / name).read_bytes(), name


def test_images_and_labels_do_not_depend_on_the_number(sample: Path, tmp_path: Path) -> None:
    write_sample(tmp_path, train_images=12, test_images=11, seed=5)
    for split, number in (("train", 12), ("test", 11)):
        many = read_members(sample / f"{split}.7z")
        few = read_members(tmp_path / f"{split}.7z")
        assert len(few) == number
        assert few.items() <= many.items()
        labels = read_labels(sample / f"{split}Labels.csv")
        assert read_labels(tmp_path / f"{split}Labels.csv") == labels[:number]


def test_no_two_images_are_identical(sample: Path, tmp_path: Path) -> None:
    write_sample(tmp_path, train_images=43, test_images=25, seed=6)
    images = [
        content
        for folder in (sample, tmp_path)
        for split in ("train", "test")
        for content in read_members(folder / f"{split}.7z").values()
    ]
    assert len(set(images)) == len(images) == 2 * (43 + 25)


def test_unknown_class_is_refused() -> None:
    with pytest.raises(KeyError):
        draw_image("zebra", Random(0))


def test_pixels_and_colors_alone_do_not_tell_the_class() -> None:
    """A nearest-centroid classifier, on pixels or on mean colors, is close to guessing."""
    labels = numpy.array(list(range(len(CLASSES))) * 50)
    images = numpy.stack(
        [
            numpy.asarray(draw_image(CLASSES[label], Random(f"separability/{index}")))
            for index, label in enumerate(labels)
        ]
    ).astype(numpy.float32)
    learn = numpy.arange(len(labels)) < 300
    colors = numpy.concatenate([images.mean(axis=(1, 2)), images.std(axis=(1, 2))], axis=1)
    for features in (images.reshape(len(images), -1), colors):
        centroids = numpy.stack(
            [features[learn & (labels == label)].mean(axis=0) for label in range(len(CLASSES))]
        )
        distances = ((features[~learn, None] - centroids) ** 2).sum(axis=2)
        accuracy = (distances.argmin(axis=1) == labels[~learn]).mean()
        assert accuracy < 0.35


@pytest.mark.parametrize("class_name", CLASSES)
def test_object_stands_out_from_the_background(class_name: str) -> None:
    """The middle of a class's pictures varies more than their border: something is drawn there."""
    images = [
        numpy.asarray(draw_image(class_name, Random(f"outline/{index}")), dtype=numpy.float32)
        for index in range(30)
    ]
    steps = numpy.mean([numpy.abs(numpy.diff(image, axis=1)).mean(axis=2) for image in images], 0)
    border = numpy.concatenate([steps[:4], steps[-4:]]).mean()
    assert steps[10:22, 8:24].mean() > 1.1 * border


def test_the_dataset_file_has_the_mean_and_std_of_the_training_images() -> None:
    labels = draw_labels("train", 1000, 0)
    images = numpy.stack(
        [
            numpy.asarray(draw_image(label, Random(f"0/train/{image_id}")))
            for image_id, label in enumerate(labels, start=1)
        ]
    )
    dataset = dataset_options("sample")
    assert images.mean(axis=(0, 1, 2)) / 255 == pytest.approx(dataset.mean, abs=1e-3)
    assert images.std(axis=(0, 1, 2)) / 255 == pytest.approx(dataset.std, abs=1e-3)
