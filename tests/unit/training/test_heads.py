"""Heads on frozen features: from the features to a model, its history and its logits."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from frozen_builders import feature_data, frozen
from imagepipe.errors import Stopped, UserError
from imagepipe.models import frozen_features
from imagepipe.prediction.features import head_logits_in_chunks
from imagepipe.training import heads
from imagepipe.training.heads import train_head
from imagepipe.training.history import read_history
from imagepipe.training.loop import TrainingResult
from training_builders import CPU, assert_same_weights, spec_of

MLP = {
    "epochs": 6,
    "batch_size": 10,
    "optimizer": {"name": "adamw", "lr": 0.01},
    "schedule": {"name": "cosine"},
}


@pytest.fixture(autouse=True)
def without_network(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The frozen network does not matter here, and takes time to build."""
    monkeypatch.setattr(frozen_features, "create_frozen_network", lambda *_: (nn.Identity(), 16))
    yield


def features_of(head: str, *, valid: int = 15, several: bool = False) -> np.ndarray:
    _, features = feature_data(valid_images=valid, several=several)
    if head == "knn":
        # It compares them as they are, so they are on one scale.
        features = features / np.maximum(features.std(axis=0), 1e-6)
    return features


def train(
    folder: Path,
    head: str,
    *,
    several: bool = False,
    seed: int = 0,
    valid: int = 15,
    **options: object,
) -> TrainingResult:
    data, _ = feature_data(valid_images=valid, several=several)
    features = features_of(head, valid=valid, several=several)
    if head == "mlp":
        options = {"recipe": MLP} | options
    spec = spec_of(frozen(head, **options), seed, several_labels=several)
    return train_head(data, features, spec, CPU, folder / "history.csv")


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("head", ["linear", "mlp", "knn"])
def test_heads_learn(tmp_path: Path, head: str, several: bool) -> None:
    result = train(tmp_path, head, several=several)
    last = result.history[-1]
    assert len(result.history) == (6 if head == "mlp" else 1)
    assert [row.epochs for row in read_history(tmp_path / "history.csv")] == [
        row.epochs for row in result.history
    ]
    assert last.valid_accuracy is not None
    assert last.valid_accuracy > (0.3 if several else 0.6)
    assert last.train_loss < 1.1
    assert result.valid_logits is not None
    assert result.valid_logits.shape == (15, 3)
    # The model takes features here, as they are.
    features = features_of(head, several=several)
    logits = result.model(torch.from_numpy(features[60:])).detach().numpy()
    np.testing.assert_allclose(logits, result.valid_logits, rtol=1e-4, atol=1e-4)


def test_without_validation_images(tmp_path: Path) -> None:
    result = train(tmp_path, "linear", valid=0)
    assert result.valid_logits is None
    assert result.history[0].valid_accuracy is None


@pytest.mark.parametrize(
    "changes",
    [
        {"averaging": {"name": "ema", "every": 1}},
        {"optimizer": {"name": "muon"}, "gradient_clipping": 1.0},
        {"sampling": "balanced", "loss": {"reduction": "sum", "class_weights": "balanced"}},
    ],
)
def test_an_mlp_follows_the_recipe(tmp_path: Path, changes: dict[str, object]) -> None:
    result = train(tmp_path, "mlp", recipe=MLP | changes)
    plain = train(tmp_path, "mlp")
    assert result.history[-1].train_loss < 1
    assert result.valid_logits is not None
    assert not np.array_equal(result.valid_logits, plain.valid_logits)


def test_an_mlp_is_the_same_with_the_same_seed(tmp_path: Path) -> None:
    one, same, other = (train(tmp_path, "mlp", seed=seed, dropout=0.5) for seed in (0, 0, 1))
    assert_same_weights(one.model, same.model)
    assert not np.array_equal(one.valid_logits, other.valid_logits)


def test_a_loss_that_is_not_finite(tmp_path: Path) -> None:
    recipe = MLP | {"optimizer": {"name": "sgd", "lr": 1e20}}
    with pytest.raises(UserError, match=r"not finite in epoch 1, .*: \{lr: 1e\+19\}\}'"):
        train(tmp_path, "mlp", recipe=recipe)


def test_a_signal_stops_a_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def answers_are_right(*args: torch.Tensor) -> torch.Tensor:
        os.kill(os.getpid(), signal.SIGTERM)
        return right(*args)

    right = heads.answers_are_right
    monkeypatch.setattr(heads, "answers_are_right", answers_are_right)
    with pytest.raises(Stopped, match="stopped by SIGTERM; the same command trains the head again"):
        train(tmp_path, "mlp")


def test_chunks_of_features_give_the_same_logits(monkeypatch: pytest.MonkeyPatch) -> None:
    _, features = feature_data()
    head = nn.Linear(16, 3)
    whole = head_logits_in_chunks(head, features)
    monkeypatch.setattr("imagepipe.prediction.features.CHUNK_ROWS", 7)
    torch.testing.assert_close(head_logits_in_chunks(head, features), whole)
