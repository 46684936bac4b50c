"""Averaged weights: what they are the average of, and that their statistics belong to them."""

import pytest
import torch
from torch import nn

from imagepipe.config.recipe import EMA, Lookahead
from imagepipe.training.averaging import WeightAverage


def model_of(value: float) -> nn.Linear:
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, value)
    return model


def value_of(model: nn.Module) -> float:
    return next(model.parameters()).item()


def averaged_value(average: WeightAverage) -> float:
    target = model_of(0)
    average.copy_to(target)
    return value_of(target)


def test_ema_is_the_exponential_average_and_leaves_the_training_alone() -> None:
    model = model_of(0.0)
    average = WeightAverage(model, EMA(decay=0.5, every=1))
    expected = 0.0
    for step in range(12):
        nn.init.constant_(model.weight, step + 1.0)
        average.after_step(model, step, 12)
        kept = min(0.5, (2 + step) / (11 + step))
        expected = kept * expected + (1 - kept) * (step + 1)
        assert averaged_value(average) == pytest.approx(expected)
        assert value_of(model) == step + 1


def test_lookahead_sets_the_training_back_and_more_so_towards_its_end() -> None:
    model = model_of(0.0)
    average = WeightAverage(model, Lookahead(decay=0.9, every=2))
    slow = 0.0
    for step in range(10):
        nn.init.constant_(model.weight, value_of(model) + 1)
        fast = value_of(model)
        average.after_step(model, step, 10)
        if step % 2 == 0:
            assert value_of(model) == fast
            continue
        kept = 0.9**2 * ((step + 1) / 10) ** 3
        slow = kept * slow + (1 - kept) * fast
        assert value_of(model) == pytest.approx(slow)
    assert value_of(model) < 8


@pytest.mark.parametrize("every", [1, 3])
def test_only_every_few_steps_count(every: int) -> None:
    model = model_of(1.0)
    average = WeightAverage(model, EMA(every=every))
    for step in range(7):
        average.after_step(model, step, 7)
    assert average.updates == 7 // every


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 3))


def test_statistics_of_batch_normalization_are_averaged_with_the_weights() -> None:
    """With them, the average answers by its statistics much as it does by those of a batch."""
    model = network()
    average = WeightAverage(model, EMA(decay=0.9, every=1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
    images = 3 + torch.randn(16, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    for step in range(60):
        optimizer.zero_grad()
        (model(images).mean() - 1).square().backward()
        optimizer.step()
        average.after_step(model, step, 60)
    target = network()
    average.copy_to(target)
    with torch.no_grad():
        by_statistics, by_batch = target.eval()(images), target.train()(images)
    assert (by_statistics - by_batch).abs().mean() < 0.1 * by_batch.std()


def test_a_restored_average_goes_on_as_if_it_had_not_been_interrupted() -> None:
    values = torch.arange(8.0)

    def averaged(steps: range, average: WeightAverage) -> None:
        for step in steps:
            average.after_step(model_of(values[step].item()), step, 8)

    whole = WeightAverage(model_of(0), EMA(decay=0.7, every=1))
    averaged(range(8), whole)
    first = WeightAverage(model_of(0), EMA(decay=0.7, every=1))
    averaged(range(3), first)
    second = WeightAverage(model_of(5), EMA(decay=0.7, every=1))
    second.load_state_dict(first.state_dict())
    averaged(range(3, 8), second)
    assert averaged_value(second) == averaged_value(whole)
