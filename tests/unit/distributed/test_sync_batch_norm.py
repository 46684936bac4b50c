"""What batch normalization over several processes refuses."""

import torch
from torch import Tensor, nn

from builders import refused
from imagepipe.distributed.sync_batch_norm import synchronize_batch_norm


class NormAndActivation(nn.BatchNorm2d):
    """A batch normalization with an activation, as timm has them."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input).relu()


def test_a_network_that_would_lose_a_part_is_refused() -> None:
    synchronize_batch_norm(nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2)))
    with refused("model.architecture", "NormAndActivation", "one process"):
        synchronize_batch_norm(nn.Sequential(nn.Conv2d(3, 2, 1), NormAndActivation(2)))


def test_names_weights_and_statistics_stay() -> None:
    model = nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    after = synchronize_batch_norm(model).state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
