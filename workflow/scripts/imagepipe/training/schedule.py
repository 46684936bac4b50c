"""When a training does what: its batches, learning rates and image sizes. It needs no PyTorch."""

import math
from dataclasses import dataclass
from functools import cached_property

from imagepipe.config.recipe import (
    CosineSchedule,
    LinearSchedule,
    OneCycleSchedule,
    Recipe,
    StepSchedule,
)


@dataclass(frozen=True)
class TrainingSchedule:
    """The schedule of a training by `recipe` on `num_images` images.

    Epochs are counted from 0. A `step` is counted from 0 within its epoch, a `global_step` from 0
    over the whole training.
    """

    recipe: Recipe
    num_images: int

    @cached_property
    def batch_size(self) -> int:
        """Images in each batch but an epoch's last one, over all processes."""
        largest = self.num_images // self.recipe.min_steps_per_epoch
        return max(1, min(self.recipe.batch_size, largest))

    @cached_property
    def steps_per_epoch(self) -> int:
        """Steps of the optimizer in each epoch."""
        if self.recipe.drop_last and self.num_images >= self.batch_size:
            return self.num_images // self.batch_size
        return math.ceil(self.num_images / self.batch_size)

    @property
    def images_per_epoch(self) -> int:
        """Images that an epoch trains on: fewer than all if it drops the last batch."""
        return self.images_before(self.steps_per_epoch)

    @property
    def total_steps(self) -> int:
        """Steps of the whole training."""
        return self.recipe.epochs * self.steps_per_epoch

    def images_before(self, step: int) -> int:
        """Return the number of images in an epoch's batches before a step."""
        return min(step * self.batch_size, self.num_images)

    def batch_size_at(self, step: int) -> int:
        """Return the number of images in the batch of a step, over all processes."""
        return self.images_before(step + 1) - self.images_before(step)

    def image_scale(self, epoch: int) -> float:
        """Return the factor by which the recipe's `progressive_resizing` scales images."""
        done = (epoch + 0.5) / self.recipe.epochs
        stages = self.recipe.progressive_resizing
        return next((stage.scale for stage in stages if done < stage.until), 1.0)

    def lr(self, global_step: int) -> float:
        """Return the learning rate of a step."""
        return self.recipe.optimizer.lr * self.lr_scale(global_step)

    def lr_scale(
        self, global_step: int, freeze_after: float = 1.0, frozen_epochs: int = 0
    ) -> float:
        """Return the learning rate of a step as a fraction of the highest one.

        With `warmup`, it first rises linearly from 0 for that fraction of the training. Then,

        - step: decay^⌊epoch / period⌋, as torch.optim.lr_scheduler.StepLR;
        - linear: falls to 0;
        - cosine: falls to 0 as half a period of the cosine (Loshchilov and Hutter, arXiv
          1608.03983, without restarts).

        one_cycle is torch.optim.lr_scheduler.OneCycleLR with `warmup` as its pct_start (Smith and
        Topin, arXiv 1708.07120): a cosine from 1/25 up to 1, and one down to 1/250,000.

        Parameters that are frozen after a fraction of the training have a rate that falls linearly
        to 0 at that point; if that is the start, their rate is always 0. Linear and cosine take the
        middle of the step, so that no step has a rate of 0.

        Parameters that are frozen in the first `frozen_epochs` have a rate of 0 there. After that,
        the whole schedule runs for them in the epochs that are left, with a warm-up of its own,
        which is as large a fraction of those. So they start gently beside a head that may be at the
        highest rate, and all rates end together.
        """
        start = frozen_epochs * self.steps_per_epoch
        if global_step < start or freeze_after == 0:
            return 0.0
        if freeze_after < 1:
            return max(0.0, 1 - (global_step + 0.5) / self.total_steps / freeze_after)
        step, num_steps = global_step - start, self.total_steps - start
        done = (step + 0.5) / num_steps
        schedule = self.recipe.schedule
        if isinstance(schedule, OneCycleSchedule):
            return _one_cycle(step, num_steps, schedule.warmup)
        if done < schedule.warmup:
            return done / schedule.warmup
        falling = (done - schedule.warmup) / (1 - schedule.warmup)
        match schedule:
            case StepSchedule():
                epoch = step // self.steps_per_epoch
                return float(schedule.decay ** (epoch // schedule.period))
            case LinearSchedule():
                return 1 - falling
            case CosineSchedule():
                return (1 + math.cos(math.pi * falling)) / 2


def _one_cycle(step: int, total_steps: int, warmup: float) -> float:
    first, last = 1 / 25, 1 / 250_000
    peak = warmup * total_steps - 1
    if step <= peak:
        return first + (1 - first) * (1 - math.cos(math.pi * step / max(peak, 1))) / 2
    falling = (step - peak) / max(total_steps - 1 - peak, 1)
    return last + (1 - last) * (1 + math.cos(math.pi * falling)) / 2
