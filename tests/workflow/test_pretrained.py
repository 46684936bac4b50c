"""Heads on a frozen network, from its weights to a submission, and what they rerun."""

import json
from typing import Any

import numpy as np
import pytest
import yaml

from builders import make_competition
from conftest import OWN_DATASET
from frozen_builders import TINY, write_weights
from imagepipe.prediction.logits import read_predictions
from imagepipe.prediction.predict import predict_test
from project import Project

# What a head's own training makes.
OF_A_HEAD = {"train", "retrain", "predict", "submission"}
Changes = dict[str, Any]
LINEAR: Changes = {"name": "linear", "l2": 0.1}
NOTHING: Changes = {}
TARGETS = ("results/own/submission.csv", "results/own/runs.csv")


def config(model: Changes = LINEAR, on: Changes = NOTHING, image_size: int = 32) -> tuple[str, ...]:
    """Return the config of a head on a tiny network, with some changes."""
    network = {"architecture": TINY, "weights": "tiny/weights.safetensors"} | on
    override = {"image_size": image_size, "model": {**model, "on": network}}
    settings = ("dataset=own.yaml", "raw_dir=kaggle", "recipe=probe")
    return (*settings, f"override={json.dumps(override)}")


@pytest.fixture(scope="module")
def probed(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project that has made a submission with a linear head on a tiny network."""
    project = Project.copy_to(tmp_path_factory.mktemp("probed"))
    for name in ("kaggle", "tiny", "other"):
        (project.directory / name).mkdir()
    make_competition(project.directory / "kaggle", train=40, test=12)
    write_weights(project.directory / "tiny")
    write_weights(project.directory / "other")
    dataset = {key: value for key, value in OWN_DATASET.items() if key != "true_labels"}
    dataset["files"] = [file for file in OWN_DATASET["files"] if file["name"] != "testLabels.csv"]
    (project.directory / "own.yaml").write_text(yaml.safe_dump(dataset, sort_keys=False))
    result = project.run(*TARGETS, config=config())
    assert result.code == 0, result.output
    assert {"weights", "embed", *OF_A_HEAD} <= result.rules
    return project


def test_predictions_are_those_of_the_model_on_the_images(probed: Project) -> None:
    (final,) = (probed.directory / "results/own").glob("probe*/seed0/final")
    (images,) = (probed.directory / "data/own/packed").glob("*/test.npy")
    again = probed.directory / "again.npz"
    predict_test(
        *(final / "model.safetensors", images, images.with_suffix(".csv"), again),
        **{"batch_size": 5, "precision": "fp32", "tf32": False, "deterministic": True},
        **{"device": "cpu", "gpus": 0, "threads": 1},
    )
    found, expected = read_predictions(final / "test_logits.npz"), read_predictions(again)
    np.testing.assert_allclose(found.logits, expected.logits, atol=1e-3)
    assert "tiny" not in (final / "model.safetensors").read_bytes().decode("latin-1")


def test_the_same_call_reruns_nothing(probed: Project) -> None:
    assert probed.stale(*TARGETS, config=config()) == set()


@pytest.mark.parametrize("model", [{"name": "linear", "l2": 1.0}, {"name": "knn"}])
def test_another_head_embeds_nothing(probed: Project, model: Changes) -> None:
    stale = probed.stale(*TARGETS, config=config(model))
    assert stale == OF_A_HEAD | {"runs"}


@pytest.mark.parametrize(
    ("changes", "more"),
    [
        ({"image_size": 24}, {"pack", "compare", "embed"}),
        ({"on": {"flip": False}}, {"embed"}),
        ({"on": {"weights": "other/weights.safetensors"}}, {"weights", "embed"}),
    ],
)
def test_another_size_or_other_weights_embed_again(
    probed: Project, changes: Changes, more: set[str]
) -> None:
    stale = probed.stale(*TARGETS, config=config(**changes))
    assert stale == OF_A_HEAD | {"runs"} | more
