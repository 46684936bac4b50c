"""Deciding the form of the submission from a dataset's files."""

from pathlib import Path

from imagepipe.config.dataset import has_several
from imagepipe.dataset.forms import choose_form, choose_metric
from imagepipe.dataset.labels import LabelOptions
from imagepipe.dataset.manifests import read_manifest
from imagepipe.dataset.packed import read_classes
from imagepipe.dataset.submission_form import write_metric, write_submission_form
from imagepipe.dataset.test_images import find_test_images


def decide_form(extracted: Path, folder: Path, options: LabelOptions) -> None:
    """Decide the form of the submission and its metric, before anything is trained.

    `extracted` holds the tables and the images' manifest, and `folder` classes.txt. It gets
    submission_form.json and metric.json. Raises `UserError` if the sample submission, the options
    and the classes do not go together.
    """
    several = has_several(options.labels)
    _, sample = find_test_images(
        read_manifest(extracted),
        options.test_ids,
        extracted,
        options.sample_submission,
        options.encoding,
    )
    classes = read_classes(folder / "classes.txt")
    form = choose_form(
        options.submission,
        sample,
        classes,
        several=several,
        metric=options.metric,
        separator=getattr(options.labels, "separator", None),
    )
    write_submission_form(folder / "submission_form.json", form)
    write_metric(
        folder / "metric.json", choose_metric(options.metric, form, classes, several=several)
    )
