"""Images that are drawn so that every class is as frequent."""

import numpy as np
import pytest

from imagepipe.training.sampling import BalancedSampling, epoch_order


def counts(labels: np.ndarray, classes: int, epochs: int = 20) -> np.ndarray:
    """Return how often each image is drawn, on average over epochs."""
    sampling = BalancedSampling.from_labels(labels, classes)
    drawn = [sampling.draw(0, epoch).numpy() for epoch in range(epochs)]
    assert all(len(rows) == len(labels) for rows in drawn)
    return np.bincount(np.concatenate(drawn), minlength=len(labels)) / epochs


def test_every_class_is_as_frequent_and_so_is_every_image_of_a_class() -> None:
    labels = np.array([0] * 900 + [2] * 90 + [1] * 10)[np.random.default_rng(0).permutation(1_000)]
    often = counts(labels, 4)
    for label in range(3):
        assert often[labels == label].sum() == pytest.approx(1_000 / 3, rel=0.05)
    assert often[labels == 1] == pytest.approx(100 / 3, rel=0.2)


def test_an_image_of_several_classes_is_one_of_its_rarest() -> None:
    # 60 of the first class alone, 30 of the first and the second, 10 of none.
    labels = np.array([[1, 0, 0]] * 60 + [[1, 1, 0]] * 30 + [[0, 0, 0]] * 10, dtype=np.uint8)
    often = counts(labels, 3, epochs=200)
    weights = np.array([1 / 90] * 60 + [1 / 30] * 30 + [1 / 10] * 10)
    expected = 100 * weights / weights.sum()
    for part in (slice(60), slice(60, 90), slice(90, 100)):
        assert often[part].sum() == pytest.approx(expected[part].sum(), rel=0.05)


def test_each_seed_and_epoch_draws_its_own_and_the_same_again() -> None:
    sampling = BalancedSampling.from_labels(np.arange(100) % 3, 3)
    draws = {pair: sampling.draw(*pair).tolist() for pair in ((0, 0), (0, 1), (1, 0))}
    assert sampling.draw(0, 1).tolist() == draws[0, 1]
    assert draws[0, 0] != draws[0, 1] != draws[1, 0] != draws[0, 0]
    # With replacement.
    assert len(set(draws[0, 0])) < 100


def test_one_image_is_drawn_over_and_over() -> None:
    assert BalancedSampling.from_labels(np.array([0]), 1).draw(0, 0).tolist() == [0]


def test_an_order_has_every_image_once_and_each_has_its_own_draws() -> None:
    order, draw_of = epoch_order(50, None, 0, 3)
    assert sorted(order.tolist()) == list(range(50))
    assert order.tolist() == draw_of.tolist()
    assert epoch_order(50, None, 0, 3)[0].tolist() == order.tolist()
    assert epoch_order(50, None, 0, 4)[0].tolist() != order.tolist()


def test_an_image_that_comes_twice_has_other_draws_each_time() -> None:
    sampling = BalancedSampling.from_labels(np.array([0] * 45 + [1] * 5), 2)
    order, draw_of = epoch_order(50, sampling, 0, 3)
    assert order.tolist() == sampling.draw(0, 3).tolist()
    assert len(set(order.tolist())) < 50
    assert draw_of.tolist() == list(range(50))
