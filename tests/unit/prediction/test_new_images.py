"""New images: from files, folders, archives, lists and memory to labels and probabilities."""

import csv
import io
import json
import logging
import os
import subprocess
import sys
import unicodedata
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image, ImageFile
from torch import nn

import imagepipe
from builders import SCRIPTS, png_bytes, refused, write_archive, write_csv, write_png
from image_builders import CLASSES, MEAN, STD
from imagepipe.cli import main
from imagepipe.config.image_form import ImageForm
from imagepipe.config.recipe import SmallCNN
from imagepipe.dataset.packing import pack
from imagepipe.dataset.submission_form import read_submission_form
from imagepipe.errors import UserError
from imagepipe.files import write_rows
from imagepipe.models.create import create_model
from imagepipe.models.model_files import ModelDescription, save_model
from imagepipe.prediction import new_images as module
from imagepipe.prediction.image_files import find_images
from imagepipe.prediction.logits import read_predictions
from imagepipe.prediction.new_images import Predictor, Reading, load
from imagepipe.prediction.predict import images_at_once, model_logits, predict_test
from imagepipe.submission.submission import write_submission

SMALL = SmallCNN(width=4)
SIZE = 8


def write_model(path: Path, seed: int = 0, **changes: Any) -> Path:
    """Write an untrained model of 8×8 images whose classes differ from image to image."""
    torch.manual_seed(seed)
    values: dict[str, Any] = {
        "model": SMALL,
        "classes": list(CLASSES),
        "several_labels": False,
        "stored_size": [SIZE, SIZE],
        "fit": "squash",
        "image_size": [SIZE, SIZE],
        "mean": MEAN,
        "std": STD,
        "test_time_augmentation": "flip",
    }
    description = ModelDescription(**values | changes)
    model = create_model(SMALL, len(description.classes))
    assert isinstance(model.classifier, nn.Linear)
    with torch.no_grad():
        model.classifier.weight *= 1000
        # So that images of noise are not all of the same class.
        images = torch.stack([pixels_of(png_bytes(seed, SIZE)) for seed in range(20)])
        model.classifier.bias -= model_logits(model, description, images, batch_size=20).mean(dim=0)
    save_model(path, model, description)
    return path


def pixels_of(content: bytes) -> torch.Tensor:
    with Image.open(io.BytesIO(content)) as image:
        return torch.from_numpy(np.array(image.convert("RGB")))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "model.safetensors")


@pytest.fixture
def predictor(model: Path) -> Predictor:
    return load(model, device="cpu", precision="fp32")


def write_images(folder: Path, names: Mapping[str, int]) -> Path:
    """Write PNG files of noise, by name and seed."""
    for name, seed in names.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png_bytes(seed, SIZE))
    return folder


def probabilities(predictor: Predictor, *seeds: int) -> np.ndarray:
    """Return what the models should say of the images of some seeds, one by one."""
    images = torch.stack([pixels_of(png_bytes(seed, SIZE)) for seed in seeds])
    by_model = [
        model_logits(model, description, images, batch_size=1).double()
        for model, description in predictor.models
    ]
    of_class = torch.sigmoid if predictor.several_labels else partial_softmax
    return torch.stack([of_class(logits) for logits in by_model]).mean(dim=0).numpy()


def partial_softmax(logits: torch.Tensor) -> torch.Tensor:
    return logits.softmax(dim=1)


def check(predictor: Predictor, inputs: Any, paths: Sequence[str], seeds: Sequence[int]) -> None:
    """Predict some inputs, and compare with images of these paths and seeds."""
    predictions = predictor.predict(inputs)
    assert [one.path for one in predictions] == list(paths)
    found = [list(one.probabilities.values()) for one in predictions]
    np.testing.assert_allclose(found, probabilities(predictor, *seeds), rtol=1e-4, atol=1e-6)
    for one in predictions:
        assert list(one.probabilities) == list(CLASSES)
        assert one.label == max(one.probabilities, key=one.probabilities.__getitem__)
        assert one.probability == one.probabilities[one.label]


def test_models_of_these_tests_tell_images_apart(predictor: Predictor) -> None:
    assert set(probabilities(predictor, *range(20)).argmax(axis=1).tolist()) == {0, 1, 2}


def test_library_loads_a_model(model: Path, tmp_path: Path) -> None:
    path = write_images(tmp_path, {"a.png": 1}) / "a.png"
    (one,) = imagepipe.load(model, device="cpu").predict(path)
    assert one.label in CLASSES
    assert one.top(2) == sorted(one.probabilities.items(), key=lambda item: -item[1])[:2]


def test_importing_the_library_imports_nothing_that_takes_time() -> None:
    program = """
import sys
import imagepipe
assert not {"torch", "numpy", "PIL", "pydantic", "click"} & set(sys.modules)
"""
    command = [sys.executable, "-c", program]
    subprocess.run(command, check=True, env={"PYTHONPATH": str(SCRIPTS)})


def test_one_path_or_several(predictor: Predictor, tmp_path: Path) -> None:
    folder = write_images(tmp_path / "images", {"b.png": 1, "a.png": 2})
    b, a = folder / "b.png", folder / "a.png"
    check(predictor, str(b), [str(b)], [1])
    check(predictor, [b, str(a)], [str(b), str(a)], [1, 2])
    assert predictor.predict([]) == []


def test_folder_is_searched_in_natural_order_without_junk(
    predictor: Predictor, tmp_path: Path
) -> None:
    names = {"10.png": 1, "2.png": 2, "more/deep/1.PNG": 3, "a.png": 4, "a-1.png": 5}
    junk = {
        "._2.png": 6,
        ".ipynb_checkpoints/2-checkpoint.png": 6,
        "__MACOSX/2.png": 6,
        "@eaDir/2.png": 6,
    }
    folder = write_images(tmp_path / "images", names | junk)
    (folder / "notes.txt").write_text("no image")
    (folder / ".DS_Store").write_bytes(b"\0")
    order = ["2.png", "10.png", "a.png", "a-1.png", "more/deep/1.PNG"]
    check(predictor, folder, [str(folder / name) for name in order], [2, 1, 4, 5, 3])


@pytest.mark.parametrize("ending", ["zip", "7z", "tar", "tar.gz"])
def test_archive_is_read_in_its_order(predictor: Predictor, tmp_path: Path, ending: str) -> None:
    members = {
        "images/b.png": png_bytes(1, SIZE),
        "images/a.png": png_bytes(2, SIZE),
        "__MACOSX/images/._a.png": b"junk",
        "labels.csv": b"id,label\n",
    }
    archive = write_archive(tmp_path / f"images.{ending}", members)
    expected = [f"{archive}/images/b.png", f"{archive}/images/a.png"]
    check(predictor, archive, expected, [1, 2])


def test_archives_in_archives_are_searched(predictor: Predictor, tmp_path: Path) -> None:
    inner = write_archive(tmp_path / "test.tar", {"test/a.png": png_bytes(1, SIZE)})
    members = {"b.png": png_bytes(2, SIZE), "data/test.tar": inner.read_bytes(), "t.csv": b"id\n"}
    outer = write_archive(tmp_path / "outer.zip", members)
    inner.unlink()
    check(predictor, outer, [f"{outer}/b.png", f"{outer}/data/test.tar/test/a.png"], [2, 1])


def test_damage_to_an_image_in_a_zip_is_its_own(predictor: Predictor, tmp_path: Path) -> None:
    members = {f"{seed}.png": png_bytes(seed, SIZE) for seed in range(4)}
    archive = write_archive(tmp_path / "images.zip", members)
    content = bytearray(archive.read_bytes())
    content[content.index(b"1.png") + 60] ^= 0xFF
    archive.write_bytes(content)
    bad: dict[str, str] = {}
    predictions = predictor.predict_found(find_images([archive]), Reading(bad.__setitem__))
    assert [one.path for one in predictions] == [f"{archive}/{n}.png" for n in (0, 2, 3)]
    assert list(bad) == [f"{archive}/1.png"]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("header", [True, False])
def test_list_of_paths_is_relative_to_its_folder_or_the_working_directory(
    predictor: Predictor,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    separator: str,
    header: bool,
) -> None:
    write_images(tmp_path / "lists/images", {"a.png": 1, "b.png": 2})
    write_images(tmp_path / "here", {"c.png": 3})
    monkeypatch.chdir(tmp_path / "here")
    rows = [("cat", "images/a.png"), ("dog", "c.png"), ("cat", "images/b.png")]
    lines = [("label", "file")] * header + rows
    table = tmp_path / "lists/some.csv"
    table.write_text("".join(f"{separator.join(line)}\n" for line in lines))
    check(predictor, table, ["images/a.png", "c.png", "images/b.png"], [1, 3, 2])


def test_missing_images_at_the_start_of_a_list_are_named_and_not_taken_for_a_header(
    predictor: Predictor, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_images(tmp_path, {"c.png": 1})
    table = tmp_path / "some.csv"
    table.write_text("file\na.png\nb.png\nc.png\n")
    (one,) = predictor.predict(table, skip_bad=True)
    assert one.path == "c.png"
    assert [message.partition(":")[0] for message in caplog.messages] == ["a.png", "b.png"]


def test_images_in_memory(predictor: Predictor, tmp_path: Path) -> None:
    path = write_images(tmp_path, {"a.png": 1}) / "a.png"
    array = pixels_of(png_bytes(2, SIZE)).numpy()
    with Image.open(path) as opened:
        check(predictor, [opened, array, path], ["", "", str(path)], [1, 2, 1])
        check(predictor, opened, [""], [1])
    check(predictor, array, [""], [2])


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "CMYK", "I;16", "1"])
def test_images_in_memory_of_any_mode(predictor: Predictor, mode: str) -> None:
    grey = Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8) * 4)
    image = Image.fromarray(np.array(grey, np.uint16) * 257) if mode == "I;16" else None
    (one,) = predictor.predict(image or grey.convert("RGB").convert(mode))
    if mode not in ("1", "P"):  # which have fewer colors
        (expected,) = predictor.predict(grey)
        assert one.label == expected.label


def test_opened_image_is_turned_upright(predictor: Predictor, tmp_path: Path) -> None:
    upright = Image.fromarray(pixels_of(png_bytes(3, SIZE)).numpy())
    turned = upright.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by 90° clockwise
    turned.save(tmp_path / "turned.png", exif=exif)
    with Image.open(tmp_path / "turned.png") as opened:
        check(
            predictor, [opened, tmp_path / "turned.png"], ["", str(tmp_path / "turned.png")], [3, 3]
        )


@pytest.mark.parametrize("array", [np.zeros((8, 8), np.uint8), np.zeros((8, 8, 3))])
def test_array_of_another_kind_is_refused(predictor: Predictor, array: np.ndarray) -> None:
    with refused("an image in memory", "uint8 [height, width, 3]"):
        predictor.predict(array)


def test_models_average_probabilities(model: Path, tmp_path: Path) -> None:
    other = write_model(tmp_path / "other.safetensors", seed=1)
    path = write_images(tmp_path, {"a.png": 1}) / "a.png"
    both = load(model, other, device="cpu", precision="fp32")
    check(both, path, [str(path)], [1])
    alone = [probabilities(load(one), 1) for one in (model, other)]
    np.testing.assert_allclose(probabilities(both, 1), (alone[0] + alone[1]) / 2)


def test_models_of_other_sizes_average(model: Path, tmp_path: Path) -> None:
    other = write_model(tmp_path / "o.safetensors", 1, stored_size=[4, 6], image_size=[8, 12])
    path = write_images(tmp_path, {"a.png": 1}) / "a.png"
    one, two, both = (
        list(load(*paths, device="cpu").predict(path)[0].probabilities.values())
        for paths in ([model], [other], [model, other])
    )
    np.testing.assert_allclose(both, np.mean([one, two], axis=0), rtol=1e-5)


@pytest.mark.parametrize("change", [{"classes": ["x", "y", "z"]}, {"several_labels": True}])
def test_models_of_other_classes_are_refused(
    model: Path, tmp_path: Path, change: dict[str, Any]
) -> None:
    other = write_model(tmp_path / "other.safetensors", **change)
    with refused("other.safetensors", "other classes"):
        load(model, other)


def test_several_labels_are_those_of_half_or_more(tmp_path: Path) -> None:
    model = write_model(tmp_path / "m.safetensors", several_labels=True)
    names = {f"{seed}.png": seed for seed in range(10)}
    folder = write_images(tmp_path / "images", names)
    predictor = load(model, device="cpu", precision="fp32")
    expected = probabilities(predictor, *range(10))
    for one, row in zip(predictor.predict(folder), expected, strict=True):
        labels = [name for name, value in zip(CLASSES, row, strict=True) if value >= 0.5]
        assert one.label == "|".join(labels)
        assert one.probability == pytest.approx(max(row), rel=1e-4)


def test_thresholds_decide_on_labels(model: Path, tmp_path: Path) -> None:
    path = write_images(tmp_path, {"a.png": 1}) / "a.png"
    thresholds = {"kind": "one", "values": [0.0], "positive": "red"}
    (tmp_path / "thresholds.json").write_text(json.dumps(thresholds))
    predictor = load(model, thresholds=tmp_path / "thresholds.json", device="cpu")
    (one,) = predictor.predict(path)
    assert one.label == "red"
    assert one.probability == one.probabilities["red"]


def test_unreadable_image_is_named(
    predictor: Predictor, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write_images(tmp_path / "images", {"a.png": 1, "c.png": 2})
    (folder / "b.png").write_bytes(png_bytes(3, SIZE)[:50])
    with pytest.raises(UserError, match=r"b\.png: "):
        predictor.predict(folder)
    with caplog.at_level(logging.WARNING):
        predictions = predictor.predict([folder, tmp_path / "gone.png"], skip_bad=True)
    assert [Path(one.path).name for one in predictions] == ["a.png", "c.png"]
    (first, second) = caplog.messages
    assert "b.png: " in first
    assert "gone.png: cannot be read (No such file or directory)" in second


def test_nothing_to_predict_is_refused(predictor: Predictor, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    write_csv(tmp_path / "list.csv", ("id", "label"), [("1", "cat")])
    write_archive(tmp_path / "empty.zip", {"a.txt": b""})
    write_archive(tmp_path / "empty.tar", {"a.txt": b""})
    for name in ("empty", "list.csv", "empty.zip", "empty.tar", "gone.zip", "gone.csv"):
        with refused(name):
            predictor.predict(tmp_path / name)


def test_batches_are_predicted_in_order_and_only_one_is_decoded_ahead(
    predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeds = list(range(23))
    folder = write_images(tmp_path / "images", {f"{seed}.png": seed for seed in seeds})
    loaded: list[int] = []
    sizes: list[tuple[int, int]] = []
    decode = module._decode

    def counted(*args: Any) -> list[bytes]:
        loaded.append(1)
        return decode(*args)

    def logits(model: Any, description: Any, images: torch.Tensor, **options: Any) -> torch.Tensor:
        sizes.append((len(images), len(loaded)))
        return model_logits(model, description, images, **options)

    monkeypatch.setattr(module, "_decode", counted)
    monkeypatch.setattr(module, "model_logits", logits)
    predictions = predictor.predict(folder, batch_size=5)
    assert [Path(one.path).stem for one in predictions] == list(map(str, seeds))
    assert [size for size, _ in sizes] == [5, 5, 5, 5, 3]
    for number, (_, done) in enumerate(sizes, start=1):
        assert done <= 5 * number + 5


def test_what_the_decoder_sets_is_as_before_when_threads_are_done(
    predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = io.BytesIO()
    Image.fromarray(pixels_of(png_bytes(1, 100)).numpy()).save(content, "JPEG")
    for number in range(40):
        # Half of them end too early.
        end = len(content.getvalue()) // (1 + number % 2)
        (tmp_path / f"{number}.jpg").write_bytes(content.getvalue()[:end])
    for allowed in (True, False):
        monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", allowed)
        filters = list(warnings.filters)
        for salvage, readable in ((False, 20), (True, 40)):
            bad: dict[str, str] = {}
            reading = Reading(bad.__setitem__, salvage=salvage, threads=8)
            predictions = predictor.predict_found(find_images([tmp_path]), reading)
            assert (len(predictions), len(bad)) == (readable, 40 - readable)
            assert warnings.filters == filters
            assert ImageFile.LOAD_TRUNCATED_IMAGES is allowed


def test_full_memory_makes_batches_smaller(
    predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def greedy(*args: Any, batch_size: int, **options: Any) -> torch.Tensor:
        if batch_size > 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return model_logits(*args, batch_size=batch_size, **options)

    folder = write_images(tmp_path / "images", {f"{seed}.png": seed for seed in range(9)})
    expected = [one.label for one in predictor.predict(folder)]
    monkeypatch.setattr(module, "model_logits", greedy)
    assert [one.label for one in predictor.predict(folder)] == expected
    monkeypatch.setattr(module, "model_logits", lambda *_, **__: greedy(batch_size=3))
    with refused("the memory of cpu is full"):
        predictor.predict(folder)


Run = Callable[..., Result]


@pytest.fixture
def run(model: Path) -> Run:
    """Run `imagepipe predict` with the model of these tests."""

    def run(*arguments: object) -> Result:
        command = ["predict", str(model), "--device", "cpu", "--threads", "1", *map(str, arguments)]
        return CliRunner().invoke(main, command)

    return run


def rows(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text)))


def test_command_prints_csv_where_there_is_no_terminal(
    run: Run, predictor: Predictor, tmp_path: Path
) -> None:
    folder = write_images(tmp_path / "images", {"1.png": 1, "2.png": 2})
    result = run(folder, "--top", 2, "--probabilities")
    assert result.exit_code == 0
    assert result.stderr == ""
    header, *found = rows(result.stdout)
    assert header == [
        *("path", "label", "probability"),
        *("class_1", "probability_1", "class_2", "probability_2"),
        *CLASSES,
    ]
    for row, one in zip(found, predictor.predict(folder), strict=True):
        best, second = one.top(2)
        assert row == [
            *(one.path, one.label, f"{one.probability:.6f}"),
            *(best[0], f"{best[1]:.6f}", second[0], f"{second[1]:.6f}"),
            *(f"{value:.6f}" for value in one.probabilities.values()),
        ]


def test_command_prints_a_table_on_a_terminal(
    run: Run, predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_images(tmp_path / "images", {"1.png": 1, f"{'x' * 80}.png": 2})
    monkeypatch.setattr("imagepipe.cli.is_terminal", lambda: True)
    result = run(folder, "--top", 1)
    header, first, second = result.stdout.splitlines()
    assert header.split() == ["path", "label", "probability", "1."]
    one, _ = predictor.predict(folder)
    assert first.split()[1:] == [
        one.label,
        f"{one.probability:.1%}",
        one.label,
        f"{one.probability:.1%}",
    ]
    assert second.startswith("…xxx")
    label = header.index("label")
    assert all(line[label - 1] == " " != line[label] for line in (header, first, second))


def test_command_names_unreadable_images_and_predicts_the_others(run: Run, tmp_path: Path) -> None:
    folder = write_images(tmp_path / "images", {"1.png": 1, "3.png": 2})
    (folder / "2.png").write_bytes(b"no image")
    target = tmp_path / "new/predictions.csv"
    result = run(folder, "-o", target)
    assert result.exit_code == 1
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"{folder / '2.png'}: ")
    assert [row[0] for row in rows(target.read_text())] == [
        *("path", str(folder / "1.png"), str(folder / "3.png"))
    ]
    assert run(folder, "--skip-bad").exit_code == 0
    assert list(target.parent.iterdir()) == [target]


def test_command_takes_several_models_in_any_place(run: Run, tmp_path: Path) -> None:
    other = write_model(tmp_path / "other.safetensors", seed=1)
    path = write_images(tmp_path, {"1.png": 1}) / "1.png"
    one, both = run(path, "--probabilities"), run(path, other, "--probabilities")
    assert one.exit_code == both.exit_code == 0
    assert one.stdout != both.stdout


def test_command_without_model_images_or_with_a_bad_model_is_refused(
    run: Run, tmp_path: Path
) -> None:
    assert run().exit_code == 2
    assert CliRunner().invoke(main, ["predict", str(tmp_path)]).exit_code == 2
    (tmp_path / "bad.safetensors").write_bytes(b"no")
    result = run(tmp_path / "bad.safetensors", tmp_path)
    assert result.exit_code == 1
    assert "is not a model of this workflow" in result.stderr
    result = run(tmp_path / "gone.safetensors", tmp_path)
    assert "gone.safetensors: the model does not exist" in result.stderr


@pytest.mark.parametrize(
    ("option", "name"), [("--submission", "."), ("--thresholds", "no.json"), ("-o", "1.png/x.csv")]
)
def test_command_names_a_missing_file_of_an_option(
    run: Run, tmp_path: Path, option: str, name: str
) -> None:
    path = write_images(tmp_path, {"1.png": 1}) / "1.png"
    result = run(path, option, tmp_path / name)
    (line,) = result.stderr.splitlines()
    assert result.exit_code == 1
    assert line.startswith(f"Error: {tmp_path}/")


def test_fewer_than_no_classes_are_refused(run: Run, tmp_path: Path) -> None:
    assert run(tmp_path, "--top", -1).exit_code == 2


def write_dataset(folder: Path, form: dict[str, Any], ids: Mapping[str, str], metric: str) -> None:
    """Write what the stage `labels` writes of the test images and the submission."""
    write_csv(folder / "test.csv", ("id", "submission_id"), ids.items())
    defaults = {"columns": [], "positive": None, "k": None, "separator": None}
    (folder / "submission_form.json").write_text(json.dumps(defaults | form))
    (folder / "metric.json").write_text(json.dumps({"name": metric, "positive": None}))
    (folder / "classes.txt").write_text("".join(f"{name}\n" for name in CLASSES))


IDS = {"cat/10": "10.png", "é": "e.png", "2": "2.png", "cat/2": "c2.png"}
PROBABILITIES = {
    "name": "probabilities",
    "header": ["id", "red", "new", "blue", "green"],
    "columns": ["red", None, "blue", "green"],
}


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    write_dataset(tmp_path / "data", PROBABILITIES, IDS, "log_loss")
    return tmp_path / "data"


def test_rows_of_the_submission(
    run: Run, predictor: Predictor, dataset: Path, tmp_path: Path
) -> None:
    names = {"cat/10.png": 1, "2.PNG": 2, "cat/2.jpg": 3, "other.png": 4, "10.png": 5}
    folder = write_images(
        tmp_path / "test", names | {f"{unicodedata.normalize('NFD', 'é')}.png": 6}
    )
    result = run(folder, "--submission", dataset)
    assert result.exit_code == 0
    assert result.stderr == ""
    header, *found = rows(result.stdout)
    assert header == PROBABILITIES["header"]
    assert [row[0] for row in found] == list(IDS.values())
    blue, green, red = probabilities(predictor, 1, 6, 2, 3).T
    expected = np.stack([red, np.zeros(4), blue, green], axis=1)
    values = np.array([row[1:] for row in found], dtype=float)
    np.testing.assert_allclose(values, expected, rtol=1e-4, atol=1e-6)


def test_rows_do_not_depend_on_where_the_images_lie(
    run: Run, dataset: Path, tmp_path: Path
) -> None:
    seeds = dict(zip(IDS, range(4), strict=True))
    folder = write_images(tmp_path / "test", {f"{name}.png": seed for name, seed in seeds.items()})
    reversed_ = dict(reversed(seeds.items()))
    members = {f"test/{name}.png": png_bytes(seed, SIZE) for name, seed in reversed_.items()}
    archives = [write_archive(tmp_path / f"test.{end}", members) for end in ("zip", "7z", "tar")]
    expected = run(folder, "--submission", dataset).stdout
    assert len(rows(expected)) == 5
    for archive in archives:
        assert run(archive, "--submission", dataset).stdout == expected


@pytest.mark.parametrize("image_size", [[16, 20], [80, 96]])
def test_rows_are_those_of_the_workflow_to_the_last_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, image_size: list[int]
) -> None:
    """Images of all kinds go the way of the stages extract, pack, predict and submission."""
    extracted = tmp_path / "extracted"
    modes = ("RGB", "L", "P", "RGBA", "CMYK")
    for number in range(1, 24):
        size = (8 + number, 30 - number)
        colors = np.random.default_rng(number).integers(0, 256, (*size, 3), dtype=np.uint8)
        image = Image.fromarray(colors).convert(modes[number % 5])
        exif = Image.Exif()
        exif[0x0112] = number % 8 + 1
        ending = "jpg" if image.mode in ("L", "CMYK") else "png"
        path = extracted / f"test/{number % 2}/{number}.{ending}"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path, exif=exif)
    (extracted / "train").mkdir()
    write_png(extracted / "train/1.png", 1, 40)
    found = [extracted / "train/1.png", *(extracted / "test").rglob("*.*g")]
    paths = [path.relative_to(extracted).as_posix() for path in found]
    rows_ = [(path, (extracted / path).stat().st_size, 0, n) for n, path in enumerate(paths)]
    write_rows(extracted / "manifest.tsv", ("path", "bytes", "crc32", "number"), rows_, "\t")
    data = tmp_path / "data"
    write_dataset(data, PROBABILITIES, {str(n): f"{n}.jpg" for n in range(23, 0, -1)}, "log_loss")
    write_csv(data / "labels.csv", ("id", "label"), [("1", "red")])
    packed = data / "packed"
    form = ImageForm(12, 16, "crop", None)
    pack(extracted, data / "labels.csv", data / "test.csv", packed, form)
    changes = {"stored_size": [12, 16], "image_size": image_size, "fit": "crop"}
    changes["test_time_augmentation"] = "flip_and_shift"
    models = [write_model(tmp_path / f"{n}.safetensors", n, **changes) for n in range(2)]
    for number, model in enumerate(models):
        predict_test(
            *(model, packed / "test.npy", packed / "test.csv", tmp_path / f"{number}.npz"),
            batch_size=5,
            precision="fp32",
            tf32=False,
            deterministic=True,
            device="cpu",
            gpus=1,
            threads=1,
        )
    logits = [read_predictions(tmp_path / f"{number}.npz") for number in range(2)]
    submission_form = read_submission_form(data / "submission_form.json")
    write_submission(logits, submission_form, data / "test.csv", tmp_path / "submission.csv")
    batches: list[int] = []

    def logits_of(*args: Any, **options: Any) -> torch.Tensor:
        batches.append(len(args[2]))
        return model_logits(*args, **options)

    monkeypatch.setattr(module, "model_logits", logits_of)
    # In any order: the rows and the batches are the submission's all the same.
    images = sorted((extracted / "test").rglob("*.*g"), key=lambda path: path.name)
    command = ["predict", *models, *images, "--submission", data, "-o", tmp_path / "rows.csv"]
    options = ["--batch-size", 5, "--threads", 1, "--device", "cpu", "--precision", "fp32"]
    result = CliRunner().invoke(main, list(map(str, [*command, *options])))
    assert (result.exit_code, result.output) == (0, "")
    at_once = images_at_once(5, image_size)
    assert batches[::2] == [min(at_once, 23 - first) for first in range(0, 23, at_once)]
    assert (tmp_path / "rows.csv").read_bytes() == (tmp_path / "submission.csv").read_bytes()


def test_some_of_the_test_images_give_their_rows_and_a_note(
    run: Run, dataset: Path, tmp_path: Path
) -> None:
    folder = write_images(tmp_path / "test", {"cat/10.png": 1, "2.png": 2})
    result = run(folder, "--submission", dataset)
    assert [row[0] for row in rows(result.stdout)[1:]] == ["10.png", "2.png"]
    assert "2 of 4 test images are given" in result.stderr


def test_images_without_or_with_the_same_id_are_refused(
    run: Run, dataset: Path, tmp_path: Path
) -> None:
    none = run(write_images(tmp_path / "none", {"x.png": 1}), "--submission", dataset)
    assert (none.exit_code, "none of the images" in none.stderr) == (1, True)
    twice = run(
        write_images(tmp_path / "twice", {"a/2.png": 1, "b/2.png": 1}), "--submission", dataset
    )
    assert (twice.exit_code, "and so is" in twice.stderr) == (1, True)


def test_metric_with_thresholds_needs_them(run: Run, tmp_path: Path) -> None:
    form = {"name": "label", "header": ["id", "label"]}
    write_dataset(tmp_path / "data", form, {"1": "1"}, "f1")
    folder = write_images(tmp_path / "test", {"1.png": 1})
    result = run(folder, "--submission", tmp_path / "data")
    assert (result.exit_code, "give --thresholds" in result.stderr) == (1, True)
    for positive in CLASSES[:2]:
        thresholds = {"kind": "one", "values": [0.0], "positive": positive}
        (tmp_path / "thresholds.json").write_text(json.dumps(thresholds))
        result = run(
            *(folder, "--submission", tmp_path / "data"),
            *("--thresholds", tmp_path / "thresholds.json"),
        )
        assert result.stdout == f"id,label\n1,{positive}\n"


def test_thresholds_of_the_run_are_found_beside_its_seeds(tmp_path: Path) -> None:
    form = {"name": "label", "header": ["id", "label"]}
    write_dataset(tmp_path / "data", form, {"1": "1"}, "f1")
    run = tmp_path / "results/run"
    (run / "seed0/final").mkdir(parents=True)
    thresholds = {"kind": "one", "values": [0.0], "positive": "green"}
    (run / "thresholds.json").write_text(json.dumps(thresholds))
    model = write_model(run / "seed0/final/model.safetensors")
    image = write_images(tmp_path, {"1.png": 1}) / "1.png"
    command = ["predict", model, image, "--submission", tmp_path / "data", "--threads", "1"]
    assert CliRunner().invoke(main, list(map(str, command))).stdout == "id,label\n1,green\n"


def test_thresholds_of_a_metric_of_before_are_not_applied(run: Run, tmp_path: Path) -> None:
    form = {"name": "label", "header": ["id", "label"]}
    write_dataset(tmp_path / "data", form, {"1": "1"}, "accuracy")
    folder = write_images(tmp_path / "test", {"1.png": 1})
    (plain,) = rows(run(folder, "--submission", tmp_path / "data").stdout)[1:]
    other = next(name for name in CLASSES if name != plain[1])
    thresholds = {"kind": "one", "values": [0.0], "positive": other}
    (tmp_path / "thresholds.json").write_text(json.dumps(thresholds))
    result = run(
        *(folder, "--submission", tmp_path / "data"),
        *("--thresholds", tmp_path / "thresholds.json"),
    )
    assert rows(result.stdout)[1:] == [plain]


def test_models_of_another_dataset_are_refused(run: Run, dataset: Path, tmp_path: Path) -> None:
    (dataset / "classes.txt").write_text("a\nb\n")
    result = run(write_images(tmp_path / "test", {"2.png": 1}), "--submission", dataset)
    assert (result.exit_code, "has other classes" in result.stderr) == (1, True)


def test_path_that_a_spreadsheet_would_compute_is_quoted(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_images(tmp_path / "images", {"=1+1.png": 1})
    monkeypatch.chdir(tmp_path / "images")
    assert rows(run("=1+1.png").stdout)[1][0] == "'=1+1.png"


def test_cores_are_those_of_the_process() -> None:
    assert 1 <= module.available_cores() <= (os.cpu_count() or 1)
