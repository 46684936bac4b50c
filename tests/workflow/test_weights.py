"""Pretrained weights as the real workflow gets them."""

import timm
import torch
from safetensors.torch import load_file

from imagepipe.config.weights import WeightsRecord, WeightsRequest
from project import Project

ARCHITECTURE = "test_efficientnet"


def test_a_users_own_weights(project: Project) -> None:
    tensors = timm.create_model(ARCHITECTURE, num_classes=3).state_dict()
    torch.save({"state_dict": tensors}, project.directory / "own.pth")
    name = WeightsRequest(package="timm", architecture=ARCHITECTURE, weights="own.pth").name
    target = f"data/weights/{name}.safetensors"
    config = (
        f"override={{model: {{name: timm, architecture: {ARCHITECTURE}, weights: own.pth}}}}",
        "dataset=sample",
    )
    result = project.run(target, config=config)
    assert result.code == 0, result.output
    assert result.rules == {"weights"}
    found = load_file(project.directory / target)
    assert all(found[key].equal(tensor) for key, tensor in tensors.items())
    record = WeightsRecord.read(project.directory / f"data/weights/{name}.json")
    assert (record.origin, record.head_classes) == ("own.pth", 3)
    assert project.stale(target, config=config) == set()

    config = (config[0].replace("own.pth", "mine.pth"), config[1])
    result = project.run("weights", config=config)
    assert result.code == 1
    (line,) = result.errors
    assert "model.weights: there is no file mine.pth; put the weights of" in line
