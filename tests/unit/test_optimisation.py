"""The optimiser, the schedules and the loss, against PyTorch's own."""

import pytest
import torch
from torch import nn

from imagepipe.optimisation import create_optimizer, learning_rate, loss_of_each
from training_builders import complete_recipe, file_recipe


def test_step_schedule_is_that_of_torch_in_every_step_of_every_epoch() -> None:
    recipe = file_recipe("d2l")
    rate, epochs, steps = recipe["optimizer"]["lr"], recipe["epochs"], 31
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=rate)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=4, gamma=0.9)
    for epoch in range(epochs):
        expected = pytest.approx(schedule.get_last_lr()[0], rel=1e-9)
        for step in (0, 15, 30):
            step += epoch * steps
            assert learning_rate(recipe["schedule"], rate, epochs, steps, step) == expected
        optimizer.step()
        schedule.step()


def one_cycle(warmup: float, epochs: int = 8, steps_per_epoch: int = 25) -> list[float]:
    """Return the rates of all steps of a training of highest rate 0.3."""
    schedule = {"name": "one_cycle", "warmup": warmup}
    steps = range(epochs * steps_per_epoch)
    return [learning_rate(schedule, 0.3, epochs, steps_per_epoch, step) for step in steps]


@pytest.mark.parametrize("warmup", [0.0, 0.25, 0.6, 1.0])
def test_one_cycle_rises_to_lr_at_the_end_of_its_warmup_and_falls_to_almost_nothing(
    warmup: float,
) -> None:
    rates = one_cycle(warmup)
    peak = rates.index(max(rates))
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert peak / len(rates) == pytest.approx(warmup, abs=0.01)
    assert 0.99 * 0.3 < max(rates) <= 0.3
    assert all(rate > 0 for rate in rates)
    if warmup > 0:
        assert rates[0] < 0.01 * 0.3 / warmup
    if warmup < 1:
        assert rates[-1] < 0.01 * 0.3 / (1 - warmup)


def test_one_cycle_of_a_single_step_trains() -> None:
    assert 0 < one_cycle(0.25, epochs=1, steps_per_epoch=1)[0] <= 0.3


@pytest.mark.parametrize("nesterov", [False, True])
def test_the_optimizer_takes_the_recipes_four_numbers(nesterov: bool) -> None:
    settings = {"lr": 0.05, "momentum": 0.8, "nesterov": nesterov, "weight_decay": 0.01}
    models = [nn.Linear(3, 2) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    optimizers = [
        create_optimizer(models[0], complete_recipe(optimizer=settings)["optimizer"]),
        torch.optim.SGD(models[1].parameters(), **settings),
    ]
    for _ in range(3):
        for model, optimizer in zip(models, optimizers, strict=True):
            optimizer.zero_grad()
            model(torch.ones(4, 3)).square().sum().backward()
            optimizer.step()
    torch.testing.assert_close(models[0].weight, models[1].weight)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_of_each_image_is_the_smoothed_cross_entropy(smoothing: float) -> None:
    logits, labels = torch.randn(6, 4), torch.tensor([0, 1, 2, 3, 0, 1])
    losses = loss_of_each(logits, labels, {"label_smoothing": smoothing})
    theirs = nn.CrossEntropyLoss(label_smoothing=smoothing)(logits, labels)
    torch.testing.assert_close(losses.mean(), theirs)
    logs = logits.log_softmax(dim=1)
    target = torch.eye(4)[labels] * (1 - smoothing) + smoothing / 4
    torch.testing.assert_close(losses, -(logs * target).sum(dim=1))
