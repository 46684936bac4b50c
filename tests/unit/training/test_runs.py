"""One training from packed files to a model file."""

import csv
import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import yaml
from safetensors.torch import save_file

from image_builders import CLASSES, MEAN, STD, write_packed
from imagepipe.dataset.submission_form import MetricChoice
from imagepipe.errors import UserError
from imagepipe.metrics.metric import compute_metric
from imagepipe.models.model_files import load_model
from imagepipe.prediction.logits import read_labelled_predictions, read_predictions
from imagepipe.prediction.predict import model_logits, predict_logits
from imagepipe.training import build, loop
from imagepipe.training import runs as training_runs
from imagepipe.training.runs import (
    Machine,
    Run,
    TrainingInputs,
    TrainingOutputs,
    read_channels,
    read_spec,
    train_run,
)
from imagepipe.training.state import TrainingSpec
from imagepipe.watch.job_log import parse_log
from training_builders import (
    Killed,
    colored,
    complete_recipe,
    die_after_saving,
    several_labels_data,
    spec_of,
)

IMAGES = 40
# Every fifth image is held out.
SPLITS = ["valid" if row % 5 == 2 else "train" for row in range(IMAGES)]
VALID_ROWS = [row for row in range(IMAGES) if SPLITS[row] == "valid"]


@pytest.fixture(autouse=True)
def threads_as_before() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    """A folder with 40 images of three colors."""
    images, labels = colored(IMAGES)
    names = [CLASSES[label] for label in labels.tolist()]
    write_packed(tmp_path / "packed", images.numpy(), names, SPLITS)
    return tmp_path / "packed"


SPEC = spec_of(
    complete_recipe(
        augmentation={"random_crop_padding": 1, "horizontal_flip": True},
        test_time_augmentation="flip",
    )
)


def run(
    packed: Path,
    target: Path,
    spec: TrainingSpec = SPEC,
    *,
    code: str = "code",
    retrain: bool = False,
) -> Path:
    """Train into the folder `target`, one thread, and return the folder."""
    train_run(
        Run(
            "mine@epochs=3",
            TrainingInputs(
                packed / "labelled.npy",
                packed / "labelled.csv",
                packed / "classes.txt",
                None if retrain else packed / "split.csv",
                *(
                    path if (path := packed / name).exists() else None
                    for name in ("metric.json", "weights.safetensors")
                ),
            ),
            TrainingOutputs(
                target / "model.safetensors",
                target / "history.csv",
                target / "metrics.json",
                target / "run.yaml",
                None if retrain else target / "valid_logits.npz",
            ),
            spec,
            code,
            target / "checkpoint",
            Machine("cpu", gpus=1, threads=1, checkpoint_minutes=5),
        )
    )
    return target


def interrupted_run(packed: Path, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin a training, and die after the checkpoint of the second epoch."""
    with monkeypatch.context() as patch:
        die_after_saving(2, patch)
        with pytest.raises(Killed):
            run(packed, target)
    assert (target / "checkpoint" / "checkpoint.pt").is_file()
    assert not (target / "model.safetensors").exists()


def model_bytes(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def test_a_run_leaves_its_results_and_nothing_else(packed: Path, tmp_path: Path) -> None:
    folder = run(packed, tmp_path / "run")
    names = ["history.csv", "metrics.json", "model.safetensors", "run.yaml", "valid_logits.npz"]
    assert sorted(path.name for path in folder.iterdir()) == names
    with (folder / "history.csv").open(encoding="utf-8", newline="") as file:
        assert len(list(csv.DictReader(file))) == 3
    metrics = json.loads((folder / "metrics.json").read_text())
    assert set(metrics) == {
        "train_loss",
        "train_accuracy",
        "valid_accuracy",
        "examples_per_second",
        "seconds",
        "epochs",
        "device",
        "precision",
        "valid_images",
    }
    assert metrics["epochs"] == 3


def test_the_validation_logits_are_those_of_the_model_for_the_images_held_out(
    packed: Path, tmp_path: Path
) -> None:
    folder = run(packed, tmp_path / "run")
    written = read_predictions(folder / "valid_logits.npz")
    assert written.ids.tolist() == [f"id{row + 1}" for row in VALID_ROWS]
    assert written.classes.tolist() == list(CLASSES)
    model, description = load_model(folder / "model.safetensors")
    assert (description.image_size, description.test_time_augmentation) == ([8, 8], "flip")
    assert (description.mean, description.std) == (MEAN, STD)
    images, labels = colored(IMAGES)
    logits = predict_logits(
        model,
        images[VALID_ROWS],
        MEAN,
        STD,
        batch_size=8,
        test_time_augmentation="flip",
    )
    np.testing.assert_allclose(written.logits, logits.numpy(), rtol=1e-4, atol=1e-5)
    with np.load(folder / "valid_logits.npz") as file:
        assert file["labels"].tolist() == labels[VALID_ROWS].tolist()
    hits = written.logits.argmax(axis=1) == labels[VALID_ROWS].numpy()
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["valid_accuracy"] == pytest.approx(hits.mean())
    assert metrics["valid_images"] == len(VALID_ROWS)


def test_a_run_says_what_it_was(packed: Path, tmp_path: Path) -> None:
    recipe = {k: v for k, v in SPEC.recipe.model_dump().items() if k not in ("title", "members")}
    split = hashlib.sha256((packed / "split.csv").read_bytes()).hexdigest()[:12]
    for retrain, of_split in ((False, split), (True, None)):
        folder = run(packed, tmp_path / str(retrain), retrain=retrain)
        settings = yaml.safe_load((folder / "run.yaml").read_text())
        assert list(settings) == [
            *("run", "split", "recipe", "seed", "mean", "std", "several_labels", "interpolation")
        ]
        assert settings == {
            "run": "mine@epochs=3",
            "split": of_split,
            "recipe": recipe,
            "seed": 0,
            "mean": MEAN,
            "std": STD,
            "several_labels": False,
            "interpolation": "bilinear",
        }


def several_labels_run(packed: Path, target: Path, **sections: Any) -> Path:
    """Train on images with the labels of their bright channels, with the metric F1."""
    data = several_labels_data(32, 8)
    names = ["|".join(np.array(CLASSES)[row == 1]) for row in data.labels]
    write_packed(packed, data.images, names, SPLITS)
    (packed / "metric.json").write_text('{"name": "f1_samples", "positive": null}')
    spec = spec_of(complete_recipe(**sections), several_labels=True)
    return run(packed, target, spec)


def test_a_run_with_several_labels_says_so_in_all_of_its_files(tmp_path: Path) -> None:
    packed = tmp_path / "packed"
    folder = several_labels_run(packed, tmp_path / "run", image_size=[12, 10])
    labels = several_labels_data(32, 8).labels
    predictions, written = read_labelled_predictions(folder / "valid_logits.npz")
    assert written.tolist() == labels[VALID_ROWS].tolist()
    assert predictions.several_labels
    model, description = load_model(folder / "model.safetensors")
    assert description.several_labels
    assert (description.stored_size, description.image_size) == ([8, 8], [12, 10])
    images = torch.from_numpy(np.load(packed / "labelled.npy")[VALID_ROWS])
    logits = model_logits(model, description, images, batch_size=3)
    np.testing.assert_allclose(predictions.logits, logits, rtol=1e-4, atol=1e-5)
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["metric"] == "f1_samples"
    value = compute_metric(
        MetricChoice("f1_samples"), predictions.probabilities(), written, CLASSES
    )
    assert metrics["f1_samples"] == pytest.approx(value)


def test_images_too_small_for_the_recipe_are_refused_when_their_size_is_known(
    packed: Path, tmp_path: Path
) -> None:
    recipe = complete_recipe(augmentation={"cutout": 9})
    message = "^recipe: augmentation.cutout: is 9, but must be at most 8 for images of 8 pixels$"
    with pytest.raises(UserError, match=message):
        run(packed, tmp_path / "run", spec_of(recipe))
    larger = complete_recipe(augmentation={"cutout": 9}, image_size=[9, 12], epochs=1)
    with pytest.raises(UserError, match=message):
        run(packed, tmp_path / "larger", spec_of(larger))


def test_channels_without_deviation_are_divided_by_a_gray_level(tmp_path: Path) -> None:
    path = tmp_path / "channels.json"
    path.write_text('{"mean": [0.5, 0.25, 0.0], "std": [0.2, 0.1, 0.0]}')
    assert read_channels(path) == {"mean": [0.5, 0.25, 0.0], "std": [0.2, 0.1, 1 / 255]}


def test_others_may_read_what_the_umask_lets_them(packed: Path, tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        folder = run(packed, tmp_path / "run")
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o640}


def test_a_retraining_takes_the_validation_images_too(packed: Path, tmp_path: Path) -> None:
    folder = run(packed, tmp_path / "retrained", retrain=True)
    names = ["history.csv", "metrics.json", "model.safetensors", "run.yaml"]
    assert sorted(path.name for path in folder.iterdir()) == names
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["valid_accuracy"] is None
    assert metrics["valid_images"] == 0
    examples = metrics["examples_per_second"] * metrics["seconds"]
    assert examples == pytest.approx(3 * IMAGES)


def test_two_runs_give_the_same_bytes(packed: Path, tmp_path: Path) -> None:
    one, other = (run(packed, tmp_path / name) for name in ("one", "other"))
    for name in ("model.safetensors", "valid_logits.npz"):
        assert (one / name).read_bytes() == (other / name).read_bytes()


def test_a_run_that_was_killed_is_carried_on_to_the_same_bytes(
    packed: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    whole = run(packed, tmp_path / "whole")
    interrupted_run(packed, tmp_path / "resumed", monkeypatch)
    with caplog.at_level(logging.INFO):
        resumed = run(packed, tmp_path / "resumed")
    assert "carry on after epoch 2 of 3" in caplog.text
    # `imagepipe watch` knows by this line how many epochs there are to be.
    (line,) = (message for message in caplog.messages if message.startswith("carry on"))
    assert parse_log([line]).num_epochs == 3
    for name in ("model.safetensors", "valid_logits.npz"):
        assert (resumed / name).read_bytes() == (whole / name).read_bytes()
    assert not (resumed / "checkpoint").exists()


def test_a_fine_tuned_model_needs_its_weights_no_more(packed: Path, tmp_path: Path) -> None:
    choose_weights(packed)
    recipe = complete_recipe(
        model={"name": "timm", "architecture": "test_vit", "weights": "tiny.safetensors"},
        image_size=32,
        optimizer={"name": "adamw", "lr": 1e-3},
        fine_tune={"frozen_epochs": 1},
        epochs=2,
    )
    folder = run(packed, tmp_path / "run", spec_of(recipe))
    (packed / "weights.safetensors").unlink()
    model, description = load_model(folder / "model.safetensors")
    assert b"tiny" not in (folder / "model.safetensors").read_bytes()
    assert description.image_size == [32, 32]
    logits = predict_logits(
        model,
        torch.from_numpy(np.load(packed / "labelled.npy")),
        description.mean,
        description.std,
        rows=torch.tensor(VALID_ROWS),
        batch_size=8,
        image_size=description.image_size,
    )
    expected = read_predictions(folder / "valid_logits.npz").logits
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)


def choose_a_metric(packed: Path) -> None:
    (packed / "metric.json").write_text('{"name": "log_loss", "positive": null}')


def choose_weights(packed: Path) -> None:
    torch.manual_seed(3)
    weights = timm.create_model("test_vit", img_size=64).state_dict()
    save_file(weights, packed / "weights.safetensors")


def change_an_image(packed: Path) -> None:
    images = np.load(packed / "labelled.npy")
    images[0] = 255 - images[0]
    np.save(packed / "labelled.npy", images)


def swap_two_splits(packed: Path) -> None:
    split = packed / "split.csv"
    text = split.read_text()
    lines = text.splitlines()
    lines[1] = lines[1].replace(",train", ",valid")
    lines[3] = lines[3].replace(",valid", ",train")
    assert len({len(text), len("\n".join(lines)) + 1}) == 1
    split.write_text("\n".join(lines) + "\n")


def swap_two_labels(packed: Path) -> None:
    table = packed / "labelled.csv"
    lines = table.read_text().splitlines()
    lines[1] = lines[1].replace(",blue", ",red")
    assert lines[1] not in table.read_text()
    table.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize(
    ("options", "data"),
    [
        ({"code": "other code"}, None),
        ({"spec": replace(SPEC, seed=1)}, None),
        ({"spec": spec_of(complete_recipe(optimizer={"lr": 0.01}))}, None),
        ({"spec": replace(SPEC, mean=[0.1, 0.2, 0.3])}, None),
        ({}, choose_a_metric),
        ({}, choose_weights),
        ({}, change_an_image),
        ({}, swap_two_labels),
        ({}, swap_two_splits),
    ],
    ids=["code", "seed", "recipe", "mean", "metric", "weights", "image", "label", "split"],
)
def test_a_run_with_something_else_starts_anew(
    options: dict[str, Any],
    data: Callable[[Path], None] | None,
    packed: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    interrupted_run(packed, tmp_path / "run", monkeypatch)
    if data is not None:
        data(packed)
    after = run(packed, tmp_path / "run", **options)
    fresh = run(packed, tmp_path / "fresh", **options)
    assert model_bytes(after) == model_bytes(fresh)
    assert not (after / "checkpoint").exists()


def test_a_split_without_validation_images_is_a_user_error(packed: Path, tmp_path: Path) -> None:
    split = packed / "split.csv"
    split.write_text(split.read_text().replace(",valid", ",train"))
    with pytest.raises(UserError, match="no image of the split valid; run split again"):
        run(packed, tmp_path / "run")


def test_parameters_to_freeze_that_the_network_does_not_have_are_a_user_error(
    packed: Path, tmp_path: Path
) -> None:
    recipe = complete_recipe(freeze=[{"parameters": "whitening", "after": 0.5}])
    message = "no parameter's name begins with 'whitening'; known: classifier, features"
    with pytest.raises(UserError, match=message):
        run(packed, tmp_path / "run", spec_of(recipe))


def test_a_last_batch_of_one_image_that_ends_as_one_pixel_is_a_user_error(tmp_path: Path) -> None:
    images, labels = colored(10, size=4)
    names = [CLASSES[label] for label in labels.tolist()]
    write_packed(tmp_path / "packed", images.numpy(), names, ["valid", *["train"] * 9])
    recipe = complete_recipe(batch_size=8, drop_last=False)
    with pytest.raises(UserError, match=r"batch_size: .* a single image, .* set drop_last: true$"):
        run(tmp_path / "packed", tmp_path / "run", spec_of(recipe))


@pytest.mark.parametrize(
    ("sizes", "answer", "attempts"),
    [
        # Both steps of the last attempt are made, as it is the second that needs the most.
        ({}, "batch_size: 2", [8, 4, 2, 2]),
        ({"micro_batch_size": 4}, "micro_batch_size: 2", [4, *[2] * 8]),
    ],
)
def test_a_full_memory_is_answered_with_the_batch_size_that_fits(
    sizes: dict[str, int],
    answer: str,
    attempts: list[int],
    packed: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On a network whose activations fill the memory at 3 images a batch."""
    create_model, tried = build.create_model, []

    def greedy(*args: Any) -> torch.nn.Module:
        def check(_: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            tried.append(len(inputs[0]))
            if len(inputs[0]) >= 3:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

        model = create_model(*args)
        model.register_forward_pre_hook(check)
        return model

    monkeypatch.setattr(build, "create_model", greedy)
    with pytest.raises(UserError) as raised:
        run(packed, tmp_path / "run", spec_of(complete_recipe(**sizes)))
    assert str(raised.value) == (
        f"the memory of cpu is full at a batch size of 8; 2 fits: set override='{{{answer}}}'"
    )
    assert tried == attempts
    assert not (tmp_path / "run" / "model.safetensors").exists()


@pytest.mark.parametrize(
    ("error", "options", "message"),
    [
        (
            RuntimeError("cumsum does not have a deterministic implementation, but you set …"),
            {},
            r"^deterministic: cumsum does not have .*; set deterministic: false$",
        ),
        (
            type("InductorError", (RuntimeError,), {"__module__": "torch._inductor.exc"})("no g++"),
            {"compile": True},
            r"^compile: PyTorch could not compile the network \(no g\+\+\); set compile: false$",
        ),
    ],
    ids=["deterministic", "compile"],
)
def test_what_the_recipe_can_avoid_is_a_user_error(
    error: RuntimeError,
    options: dict[str, Any],
    message: str,
    packed: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(loop, "train_step", fail)
    monkeypatch.setattr(torch, "compile", lambda model, **_: model)
    with pytest.raises(UserError, match=message):
        run(packed, tmp_path / "run", spec_of(complete_recipe(**options)))


def test_other_errors_stay_what_they_are(
    packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(loop, "train_step", fail)
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        run(packed, tmp_path / "run")


def test_the_log_says_where_and_in_what_it_trains_and_why(
    packed: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        run(packed, tmp_path / "run")
    assert "train on cpu in fp32 (as asked for), 1 threads" in caplog.text
    found = parse_log(caplog.messages)
    assert (found.device, found.precision, found.num_epochs) == ("cpu", "fp32", 3)
    assert [epoch.number for epoch in found.epochs] == [1, 2, 3]


def test_checkpoints_are_as_far_apart_as_the_machines_minutes_say(
    packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = []

    def noted(*args: Any) -> None:
        given.append(args[5].seconds_between)
        raise KeyboardInterrupt

    monkeypatch.setattr(training_runs, "train", noted)
    with pytest.raises(KeyboardInterrupt):
        run(packed, tmp_path / "run")
    assert given == [300.0]


def test_a_training_s_settings_are_read_as_they_were_written(tmp_path: Path) -> None:
    spec = TrainingSpec(complete_recipe(epochs=3), 7, [0.1, 0.2, 0.3], [0.4, 0.5, 0.6], True)
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump({"run": "fast", "split": None} | spec.to_dict()))
    assert read_spec(path) == spec


@pytest.mark.parametrize("text", ["", "recipe: 1", "{", "[]", "recipe: {}\nseed: 0"])
def test_settings_that_are_damaged_are_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=r"run\.yaml: cannot be read"):
        read_spec(path)
