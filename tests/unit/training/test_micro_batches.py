"""A batch that goes through the network in chunks is learned like a whole one."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from imagepipe.training import build
from training_builders import complete_recipe, several_labels_data, train_in, training_data


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("cutmix", [0.0, 1.0])
@pytest.mark.parametrize("several", [False, True], ids=["one label", "several"])
def test_a_batch_in_chunks_is_learned_like_a_whole_one(
    reduction: str, cutmix: float, several: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []

    def without_batch_normalization(*_: Any) -> nn.Module:
        model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 3))
        model.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
        return model

    monkeypatch.setattr(build, "create_model", without_batch_normalization)
    sections = {
        "loss": {"reduction": reduction, "focal_gamma": 1, "class_weights": "balanced"},
        "sampling": "balanced",
        "augmentation": {"cutmix": cutmix},
        "optimizer": {"lr": 1e-3, "momentum": 0.9},
    }
    data = several_labels_data() if several else training_data()
    whole = train_in(tmp_path / "whole", complete_recipe(**sections), data)
    assert sizes[:4] == [8, 8, 8, 8]
    sizes.clear()
    chunks = train_in(tmp_path / "chunks", complete_recipe(**sections, micro_batch_size=3), data)
    # As few and as equal chunks as possible.
    assert sizes[:6] == [2, 3, 3, 2, 3, 3]
    for name, tensor in chunks.model.state_dict().items():
        torch.testing.assert_close(tensor, whole.model.state_dict()[name], rtol=1e-4, atol=1e-6)
    for one, other in zip(chunks.history, whole.history, strict=True):
        assert one.train_loss == pytest.approx(other.train_loss, rel=1e-4)
        assert one.train_accuracy == other.train_accuracy
