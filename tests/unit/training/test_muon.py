"""Muon: orthogonal steps for filters, and PyTorch's SGD for the rest."""

import pytest
import torch
from torch import nn

from imagepipe.training.muon import Muon, orthogonalize


def singular_values(shape: tuple[int, int], ns_steps: int, dtype: torch.dtype) -> torch.Tensor:
    matrices = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0))
    return torch.linalg.svdvals(orthogonalize(matrices, ns_steps, dtype))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(16, 64), (64, 16), (64, 576)])
def test_singular_values_end_near_one(shape: tuple[int, int], dtype: torch.dtype) -> None:
    values = singular_values(shape, 3, dtype)
    assert values.min() > 0.5
    assert values.max() < 1.3


def test_an_iteration_more_lifts_small_singular_values() -> None:
    # A square matrix has some near zero, which takes more iterations.
    smallest = [singular_values((16, 16), count, torch.float32).min() for count in (1, 3, 5)]
    assert smallest == sorted(smallest)
    assert smallest[-1] > 5 * smallest[0]


def test_it_is_the_newton_schulz_iteration_of_the_matrices_themselves() -> None:
    matrices = torch.randn(2, 12, 30, generator=torch.Generator().manual_seed(0))
    values = matrices / torch.linalg.matrix_norm(matrices, keepdim=True)
    for _ in range(3):
        square = values @ values.mT
        values = 3.4445 * values + (-4.7750 * square + 2.0315 * square @ square) @ values
    torch.testing.assert_close(
        orthogonalize(matrices, 3, torch.float32), values, rtol=1e-3, atol=1e-5
    )


def test_singular_vectors_stay() -> None:
    matrix = torch.randn(1, 8, 20, generator=torch.Generator().manual_seed(0))
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    inside = left.mT @ orthogonalize(matrix, 3, torch.float32) @ right.mT
    off_diagonal = inside - torch.diag_embed(torch.diagonal(inside, dim1=1, dim2=2))
    torch.testing.assert_close(off_diagonal, torch.zeros_like(inside), rtol=0, atol=1e-4)


def test_matrices_that_go_together_come_out_as_those_that_go_alone() -> None:
    matrices = torch.randn(4, 6, 9, generator=torch.Generator().manual_seed(0))
    together = orthogonalize(matrices, 3, torch.float32)
    for index in range(4):
        alone = orthogonalize(matrices[index : index + 1], 3, torch.float32)
        torch.testing.assert_close(together[index : index + 1], alone, rtol=1e-4, atol=1e-5)


def filters(seed: int = 0) -> nn.Parameter:
    values = torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(seed))
    return nn.Parameter(values.to(memory_format=torch.channels_last))


def muon(parameters: list[nn.Parameter], lr: float | torch.Tensor, momentum: float = 0.0) -> Muon:
    group = {"params": parameters, "lr": lr, "momentum": momentum, "orthogonal": True}
    return Muon([group], 3, torch.float32)


def test_a_step_of_filters_is_orthogonal_and_as_long_as_the_rate() -> None:
    parameter = filters()
    gradient = 1e-3 * torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(1))
    parameter.grad = gradient.clone()
    before = parameter.detach() * (4**0.5 / parameter.detach().norm())
    muon([parameter], lr=0.1).step()
    step = (before - parameter.detach()).reshape(4, -1)
    expected = orthogonalize(gradient.reshape(1, 4, -1), 3, torch.float32)[0]
    torch.testing.assert_close(step, 0.1 * expected, rtol=1e-4, atol=1e-6)
    assert torch.linalg.svdvals(step / 0.1).min() > 0.5


def test_filters_keep_their_norm_however_long_they_are_trained() -> None:
    parameter = filters()
    optimizer = muon([parameter], lr=0.2)
    for step in range(20):
        parameter.grad = filters(seed=step).detach().clone()
        optimizer.step()
    # Normed before each step, so that the last one is all there is beside it.
    assert abs(parameter.norm().item() - 4**0.5) <= 0.2 * 1.3 * 4**0.5


def test_momentum_remembers_earlier_gradients() -> None:
    plain, heavy = filters(), filters()
    for parameter, momentum in ((plain, 0.0), (heavy, 0.9)):
        optimizer = muon([parameter], lr=0.1, momentum=momentum)
        for seed in (1, 2):
            parameter.grad = filters(seed).detach().clone()
            optimizer.step()
    assert not torch.allclose(plain, heavy)


def test_a_frozen_parameter_stays_as_it_is() -> None:
    parameter = filters()
    before = parameter.detach().clone()
    parameter.grad = filters(seed=1).detach().clone()
    parameter.requires_grad_(False)
    muon([parameter], lr=0.1).step()
    assert torch.equal(parameter, before)


def test_a_rate_may_be_a_tensor() -> None:
    parameters = [filters(), filters()]
    for parameter, rate in zip(parameters, (0.1, torch.tensor(0.1)), strict=True):
        parameter.grad = filters(seed=1).detach().clone()
        muon([parameter], lr=rate).step()
    assert torch.equal(*parameters)


def test_its_state_is_all_that_another_one_needs_to_go_on() -> None:
    parameters, optimizers = [filters(), filters()], []
    for parameter in parameters:
        optimizers.append(muon([parameter], lr=0.1, momentum=0.9))
    parameters[0].grad = filters(seed=1).detach().clone()
    optimizers[0].step()
    parameters[1].data.copy_(parameters[0].data)
    optimizers[1].load_state_dict(optimizers[0].state_dict())
    for parameter, optimizer in zip(parameters, optimizers, strict=True):
        parameter.grad = filters(seed=2).detach().clone()
        optimizer.step()
    assert torch.equal(*parameters)


def test_gradients_are_removed() -> None:
    parameter, without = filters(), filters(seed=1)
    parameter.grad = torch.ones_like(parameter)
    muon([parameter, without], lr=0.1).zero_grad()
    assert parameter.grad is None
    assert without.grad is None


@pytest.mark.parametrize("weight_decay", [0.0, 0.03])
def test_the_rest_is_trained_as_by_torchs_nesterov_sgd(weight_decay: float) -> None:
    settings = {"lr": 0.05, "momentum": 0.85, "weight_decay": weight_decay}
    ours, theirs = nn.Linear(5, 3), nn.Linear(5, 3)
    theirs.load_state_dict(ours.state_dict())
    optimizers = [
        (ours, Muon([{"params": list(ours.parameters()), **settings}], 3, torch.float32)),
        (theirs, torch.optim.SGD(theirs.parameters(), nesterov=True, **settings)),
    ]
    for step in range(4):
        images = torch.randn(8, 5, generator=torch.Generator().manual_seed(step))
        for model, optimizer in optimizers:
            optimizer.zero_grad()
            model(images).square().sum().backward()
            optimizer.step()
    torch.testing.assert_close(ours.weight, theirs.weight)
    torch.testing.assert_close(ours.bias, theirs.bias)
