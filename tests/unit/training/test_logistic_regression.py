"""Logistic regression against scikit-learn's."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score

from frozen_builders import feature_data
from imagepipe.config.recipe import Loss
from imagepipe.training.logistic_regression import FOLDS, fit_logistic_regression, folds


def fitted(
    features: np.ndarray, labels: np.ndarray, l2: float | None, loss: Loss | None = None
) -> tuple[np.ndarray, np.ndarray]:
    weight, bias = fit_logistic_regression(
        torch.from_numpy(features),
        torch.from_numpy(labels),
        3,
        l2=l2,
        loss=loss or Loss(),
        class_weights=None,
        seed=0,
    )
    return weight.numpy(), bias.numpy()


def standardized(features: np.ndarray) -> np.ndarray:
    std = features.std(axis=0)
    return (features - features.mean(axis=0)) / np.where(std > 0, std, 1)


def probabilities(features: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    return torch.from_numpy(features @ weight.T + bias).softmax(dim=1).numpy()


# scikit-learn's objective is the sum of the losses, times C, plus half of the squared norm.
def its_c(l2: float, images: int) -> float:
    return 1 / (2 * l2 * images)


@pytest.mark.parametrize("l2", [1.0, 0.01, 0.0001])
def test_as_scikit_learn(l2: float) -> None:
    data, features = feature_data()
    model = LogisticRegression(C=its_c(l2, len(features)), tol=1e-8, max_iter=10_000)
    model.fit(standardized(features), data.labels)
    expected = model.predict_proba(standardized(features))
    found = probabilities(features, *fitted(features, data.labels, l2))
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_several_labels_are_regressions_of_their_own() -> None:
    data, features = feature_data(several=True)
    weight, bias = fitted(features, data.labels, 0.01)
    found = torch.from_numpy(features @ weight.T + bias).sigmoid().numpy()
    for number in range(3):
        # The loss is the mean over three classes.
        model = LogisticRegression(C=its_c(3 * 0.01, len(features)), tol=1e-8, max_iter=10_000)
        model.fit(standardized(features), data.labels[:, number])
        expected = model.predict_proba(standardized(features))[:, 1]
        np.testing.assert_allclose(found[:, number], expected, atol=2e-3)


def test_smoothing_makes_the_probabilities_less_sure() -> None:
    data, features = feature_data()
    sure = probabilities(features, *fitted(features, data.labels, 1e-4))
    smoothed = fitted(features, data.labels, 1e-4, Loss(label_smoothing=0.3))
    assert sure.max(axis=1).mean() > 0.97
    assert probabilities(features, *smoothed).max(axis=1).mean() == pytest.approx(0.8, abs=0.05)


def test_strength_is_chosen_by_cross_validation() -> None:
    # Noise calls for a strong one, and features that tell all for a weak one.
    data, features = feature_data(150, 0)
    noise = np.random.default_rng(3).normal(size=(150, 40)).astype(np.float32)
    norms = [
        np.linalg.norm(fitted(some, data.labels, None)[0] * some.std(axis=0))
        for some in (noise, features)
    ]
    assert norms[0] < 0.2 * norms[1]
    weight, bias = fitted(features, data.labels, None)
    best = max(
        cross_val_score(
            LogisticRegression(C=its_c(l2, 120), max_iter=1000),
            standardized(features),
            data.labels,
            scoring="neg_log_loss",
            cv=StratifiedKFold(5, shuffle=True, random_state=0),
        ).mean()
        for l2 in (1.0, 0.1, 0.01, 0.001)
    )
    new, more = feature_data(150, 150)
    held_out = probabilities(more[150:], weight, bias)[np.arange(150), new.labels[150:]]
    assert np.log(held_out).mean() > 1.5 * best


def test_the_same_twice_to_the_bit() -> None:
    data, features = feature_data()
    one, other = (fitted(features, data.labels, None) for _ in range(2))
    assert one[0].tobytes() + one[1].tobytes() == other[0].tobytes() + other[1].tobytes()


def test_folds_spread_each_class() -> None:
    labels = torch.tensor([0] * 50 + [1] * 10 + [2] * 3)
    fold_of = folds(labels, 0)
    assert torch.bincount(fold_of).tolist() == [13, 13, 13, 12, 12]
    for number in range(2):
        counts = torch.bincount(fold_of[labels == number], minlength=FOLDS)
        assert counts.max() - counts.min() <= 1
    assert len(set(fold_of[labels == 2].tolist())) == 3
    assert not torch.equal(fold_of, folds(labels, 1))


def test_classes_without_images() -> None:
    data, features = feature_data()
    weight, bias = fitted(features, np.minimum(data.labels, 1), None)
    assert np.isfinite(weight).all()
    assert (probabilities(features, weight, bias)[:, 2] < 0.1).all()
