"""Logistic regression by L-BFGS, and the choice of its strength by cross-validation.

The objective is the mean loss of the images plus `l2` times the squared norm of the weights; the
bias is free. It is convex unless the recipe's loss has a focal factor.
"""

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from imagepipe.augmentation.mixing import MixedLabels
from imagepipe.augmentation.randomness import generator
from imagepipe.config.recipe import Loss
from imagepipe.training.loss import loss_per_image

logger = logging.getLogger(__name__)

# From strong to weak, for standardized features. For 1,000 images about 0.01 is best; more images
# want less of it.
STRENGTHS = (3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001, 3e-4, 1e-4, 3e-5)
FOLDS = 5
# With so many images held out, further folds would not change the choice.
ENOUGH_HELD_OUT = 4000
# Directions in which the features vary less than this fraction of the largest variance are noise.
MIN_VARIANCE = 1e-6
MAX_ITERATIONS = 200
# Changes of the objective that end the iteration: for the choice of the strength, and for the end.
ROUGH, EXACT = 1e-5, 1e-8


@dataclass(frozen=True)
class Problem:
    """What is minimized: features float32 [N, R] in principal axes, labels, and how to weigh them.

    variances: float32 [R], those of the axes. class_weights: float32 [classes] or None.
    """

    features: Tensor
    labels: Tensor
    variances: Tensor
    num_classes: int
    loss: Loss
    class_weights: Tensor | None

    def losses(self, weights: Tensor, loss: Loss) -> Tensor:
        """Return the images' losses, for weights [R + 1, classes] whose last row is the bias."""
        logits = torch.addmm(weights[-1], self.features, weights[:-1])
        return loss_per_image(logits, MixedLabels(self.labels), loss, self.class_weights)

    def select(self, rows: Tensor) -> "Problem":
        """Return the problem of some images, int64 [n]."""
        return replace(self, features=self.features[rows], labels=self.labels[rows])


def fit_logistic_regression(
    features: Tensor,
    labels: Tensor,
    num_classes: int,
    *,
    l2: float | None,
    loss: Loss,
    class_weights: Tensor | None,
    seed: int,
    stop_if_asked: Callable[[], None] = lambda: None,
) -> tuple[Tensor, Tensor]:
    """Return the weights, float32 [classes, D], and the bias [classes] of a linear layer.

    features: float32 [N, D]. labels: int64 [N], or uint8 [N, classes] with several. The features
    are standardized for the fit, and the result holds for them as they are. If `l2` is None, it is
    the best of `STRENGTHS` in a stratified cross-validation. `stop_if_asked` is called now and
    then.
    """
    center, scale = standardization(features)
    standardized = (features - center) / scale
    axes, variances = principal_axes(standardized)
    problem = Problem(standardized @ axes, labels, variances, num_classes, loss, class_weights)
    start = torch.zeros(len(variances) + 1, num_classes, device=features.device)
    if l2 is None:
        l2, start = choose_strength(problem, seed, stop_if_asked)
    weights = minimize(problem, l2, start, EXACT, stop_if_asked)
    unscaled = (axes @ weights[:-1]) / scale[:, None]
    return unscaled.T.contiguous(), weights[-1] - center @ unscaled


def standardization(features: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean and standard deviation, float32 [D], of features [N, D]; a std of 0 is 1."""
    std = features.std(dim=0, correction=0)
    return features.mean(dim=0), torch.where(std > 0, std, 1)


def principal_axes(features: Tensor) -> tuple[Tensor, Tensor]:
    """Return the principal axes, float32 [D, R], of centered features [N, D], and their variances.

    R is at most N and D. In these axes, the objective's curvature is known well (see `minimize`).
    """
    covariance = (features.T @ features / len(features)).cpu().double()
    variances, axes = torch.linalg.eigh(covariance)
    kept = variances >= MIN_VARIANCE * variances[-1]
    return axes[:, kept].float().to(features.device), variances[kept].float().to(features.device)


def choose_strength(
    problem: Problem, seed: int, stop_if_asked: Callable[[], None]
) -> tuple[float, Tensor]:
    """Return the strength with the least log loss on held-out images, and weights near its best.

    The weights for each strength are the start for the next weaker one, until the loss rises.
    """
    several = problem.labels.dim() == 2
    fold_of = folds(problem.labels, seed).to(problem.features.device)
    used = range(min(FOLDS, math.ceil(ENOUGH_HELD_OUT * FOLDS / len(fold_of))))
    start = problem.variances.new_zeros(len(problem.variances) + 1, problem.num_classes)
    weights = [start for _ in used]
    best, best_loss = STRENGTHS[0], math.inf
    for strength in STRENGTHS:
        # The mean over the classes makes the losses of several labels so much smaller.
        l2 = strength / (problem.num_classes if several else 1)
        held_out = []
        for fold in used:
            inside = problem.select((fold_of != fold).nonzero()[:, 0])
            weights[fold] = minimize(inside, l2, weights[fold], ROUGH, stop_if_asked)
            outside = problem.select((fold_of == fold).nonzero()[:, 0])
            held_out.append(outside.losses(weights[fold], Loss()))
        loss = float(torch.cat(held_out).double().mean())
        if loss >= best_loss:
            break
        best, best_loss, start = l2, loss, weights[0]
    logger.info("l2 is %g: images held out have the least loss with it, %.4f", best, best_loss)
    return best, start


def folds(labels: Tensor, seed: int) -> Tensor:
    """Return the fold of each image, int64 [N]; each class is spread over all.

    With several labels, the images are spread at random.
    """
    order = torch.randperm(len(labels), generator=generator(seed, "folds"))
    if labels.dim() == 1:
        order = order[labels.cpu()[order].sort(stable=True).indices]
    fold_of = torch.empty(len(labels), dtype=torch.int64)
    fold_of[order] = torch.arange(len(labels)) % FOLDS
    return fold_of


def minimize(
    problem: Problem,
    l2: float,
    start: Tensor,
    tolerance: float,
    stop_if_asked: Callable[[], None],
) -> Tensor:
    """Return weights, float32 [R + 1, classes], that minimize the objective.

    The iteration ends when a step changes the objective by less than `tolerance`. Its steps are
    taken in units in which the curvature is about 1 along each axis: that of the mean loss is about
    the axis's variance over the number of classes, and that of the squared norm is 2.
    """
    variances = torch.cat((problem.variances, problem.variances.new_ones(1)))
    curvature = variances / problem.num_classes
    curvature[:-1] += 2 * l2
    units = curvature.rsqrt()[:, None]
    scaled = (start / units).requires_grad_()
    optimizer = torch.optim.LBFGS(
        [scaled],
        max_iter=MAX_ITERATIONS,
        tolerance_grad=math.sqrt(tolerance) * 1e-2,
        tolerance_change=tolerance,
        line_search_fn="strong_wolfe",
    )

    def objective() -> Tensor:
        stop_if_asked()
        optimizer.zero_grad()
        weights = scaled * units
        mean = problem.losses(weights, problem.loss).mean()
        total = mean + l2 * weights[:-1].square().sum()
        total.backward()  # type: ignore[no-untyped-call]
        return total

    optimizer.step(objective)  # type: ignore[no-untyped-call]
    return (scaled * units).detach()
