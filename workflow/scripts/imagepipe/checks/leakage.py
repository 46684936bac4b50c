"""Refusing to train on images of the test set."""

import logging
from pathlib import Path

from imagepipe.checks.duplicates import read_duplicates
from imagepipe.errors import UserError

logger = logging.getLogger(__name__)


def refuse_test_images(duplicates: Path, *, allowed: bool) -> None:
    """Raise `UserError` if labelled images are also in the test set, or warn if that is `allowed`.

    `duplicates` was written by `write_duplicates`. The accuracy on images that the model was
    trained on says nothing about other images.
    """
    groups = [group for group in read_duplicates(duplicates) if group.cross_into_test]
    if not groups:
        return
    number = sum(len(group.labelled) for group in groups)
    images = "1 labelled image is" if number == 1 else f"{number:,} labelled images are"
    found = (
        f"{duplicates}: {images} in the test set, too, pixel for pixel (the first: training image "
        f"{groups[0].labelled[0]!r} = test image {groups[0].test[0]!r}; for all, see report.md "
        "beside it, which check_data writes)"
    )
    if not allowed:
        raise UserError(
            f"{found}; remove them from the training images, or set "
            "allow_test_images_in_training: true"
        )
    logger.warning("%s; allow_test_images_in_training is set: train on them all the same", found)
