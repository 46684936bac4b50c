"""Rows of a submission for images that a user names."""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np

from imagepipe.config.dataset import THRESHOLD_METRICS
from imagepipe.dataset.manifests import TEST_COLUMNS
from imagepipe.dataset.packed import read_classes
from imagepipe.dataset.submission_form import read_metric, read_submission_form
from imagepipe.errors import UserError, quoted
from imagepipe.files import nfc, read_rows, without_ending
from imagepipe.metrics.decisions import NO_THRESHOLDS
from imagepipe.prediction.image_files import NewImages, sorted_images
from imagepipe.prediction.logits import mean_probabilities
from imagepipe.prediction.new_images import Predictor, Reading
from imagepipe.submission.submission import form_values, submission_text

logger = logging.getLogger(__name__)


def submission_rows(
    predictor: Predictor,
    found: Sequence[NewImages],
    dataset: Path,
    reading: Reading,
    note: Callable[[str], None] = logger.warning,
) -> str:
    """Return the rows of the submission that belong to the given test images, with the header.

    dataset: the folder with test.csv, submission_form.json, metric.json and classes.txt. Images
    that are not of the test set are passed over. If all of the test images are given, the rows are
    the submission's to the last digit. Raises `UserError` if none is a test image, if the models
    have other classes than the dataset, or if they lack the thresholds that its metric needs.
    """
    form = read_submission_form(dataset / "submission_form.json")
    metric = read_metric(dataset / "metric.json").name
    # Those of another metric, which the dataset had before, are still beside the seeds.
    decisions = predictor.decisions if metric in THRESHOLD_METRICS else NO_THRESHOLDS
    if predictor.classes != list(read_classes(dataset / "classes.txt")):
        raise UserError(
            f"{dataset}: has other classes than the model; give the folder of the model's dataset"
        )
    if metric in THRESHOLD_METRICS and predictor.thresholds is None:
        raise UserError(
            f"{dataset}: its metric, {metric}, needs the thresholds of the model's run; give "
            "--thresholds results/DATASET/RUN/thresholds.json"
        )
    table = dataset / "test.csv"
    submitted = [row for _, row in read_rows(table, TEST_COLUMNS)]
    names = (name for images in found for name in images.names)
    id_of = ids_of_test_images(names, (image_id for image_id, _ in submitted))
    if not id_of:
        raise UserError(f"{table}: none of the images is one of its test images; give others")
    if len(id_of) < len(submitted):
        note(
            f"{len(id_of):,} of {len(submitted):,} test images are given; in other batches than "
            "the submission's, their last digits can differ"
        )
    with sorted_images(found, id_of) as images:
        predicted = predictor.logits(images, reading)
    ids = np.array([id_of[name] for name in predicted[0].ids.tolist()], dtype=np.str_)
    probabilities = mean_probabilities([replace(one, ids=ids) for one in predicted])
    row_of = {image_id: row for row, image_id in enumerate(ids.tolist())}
    in_order = [
        (written, row_of[image_id]) for image_id, written in submitted if image_id in row_of
    ]
    values = form_values(
        form,
        predictor.classes,
        probabilities[[row for _, row in in_order]],
        decisions,
        several_labels=predictor.several_labels,
    )
    return submission_text(form, [written for written, _ in in_order], values)


def thresholds_of_run(model: Path) -> Path | None:
    """Return the thresholds of a model's run, if it is where the workflow has put it.

    That is RUN/thresholds.json for RUN/seed0/final/model.safetensors.
    """
    path = model.resolve().parent.parent.parent / "thresholds.json"
    return path if path.is_file() else None


def ids_of_test_images(names: Iterable[str], ids: Iterable[str]) -> dict[str, str]:
    """Return {name: id} of those images that are test images.

    An id is the end of an image's path, from the name of a folder or the file on, with or without
    its ending. Raises `UserError` for two images of the same id.
    """
    known = set(ids)
    name_of: dict[str, str] = {}
    for name in names:
        parts = PurePosixPath(nfc(name)).parts
        ends = ["/".join(parts[first:]) for first in range(len(parts))]
        both = (form for end in ends for form in (end, without_ending(end)))
        image_id = next((form for form in both if form in known), None)
        if image_id in name_of:
            raise UserError(
                f"{name}: is the test image {quoted(image_id)}, and so is {name_of[image_id]}; "
                "give the test images alone"
            )
        if image_id is not None:
            name_of[image_id] = name
    return {name: image_id for image_id, name in name_of.items()}
