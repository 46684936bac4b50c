"""The top of the report: the result with its interval, and what was run on what."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from imagepipe.config.metric_names import higher_is_better, is_fraction_of_images
from imagepipe.config.weights import WeightsRecord
from imagepipe.evaluation import intervals
from imagepipe.evaluation.evaluation_file import Estimate
from imagepipe.evaluation.provenance import StageCost
from imagepipe.evaluation.report_inputs import Results, Run, Score, read_or_none
from imagepipe.evaluation.sentences import (
    Number,
    Sentence,
    amount,
    decimal,
    like,
    metric_name,
    metric_number,
    percent,
    say,
    time,
    whole,
    with_interval,
)

# Values in a model file that training does not learn.
NOT_LEARNED = (".running_mean", ".running_var", ".num_batches_tracked")
# Metrics in 0…1 besides percentages, by the start of their names.
IN_UNIT_INTERVAL = ("f1", "f2", "map_at", "mean_column_roc_auc", "roc_auc")


@dataclass(frozen=True)
class Answer:
    """The competition's metric on the validation images, and the submission's score.

    name: the metric's. value: None if it is not defined. notes: what more there is to say about it.
    has_scale: whether the metric is in 0…1, so that a scale can show it, with `ends`. base: the
    accuracy of always predicting the most frequent class. test: the score, with its interval; None
    if the test images' labels are not known.
    """

    name: str
    value: Number | None
    low: Number | None
    high: Number | None
    images: Number
    notes: Sequence[Sentence]
    has_scale: bool
    ends: tuple[str, str]
    base: float | None
    test_name: str
    test: Number | None
    test_low: Number | None
    test_high: Number | None
    test_notes: Sequence[Sentence]


def answer(results: Results) -> Answer:
    """Return the first numbers of the page."""
    evaluation = results.evaluation
    metric, estimate = evaluation.metric, evaluation.metric_value
    value, low, high = shown_estimate("metric", metric, estimate)
    test = test_low = test_high = None
    if results.score is not None:
        own = score_interval(results.score)
        test, test_low, test_high = shown_estimate("score", results.score.metric, own)
    return Answer(
        name=metric_name(metric),
        value=value,
        low=low,
        high=high,
        images=amount("images", evaluation.images, "validation image"),
        notes=notes(results, value),
        has_scale=is_fraction_of_images(metric) or metric.startswith(IN_UNIT_INTERVAL),
        ends=("0 %", "100 %") if is_fraction_of_images(metric) else ("0", "1"),
        base=evaluation.majority if metric == "accuracy" else None,
        test_name="Test score"
        if results.score is None
        else f"{metric_name(results.score.metric)} on the test images",
        test=test,
        test_low=test_low,
        test_high=test_high,
        test_notes=test_notes(results, test_low, test_high),
    )


def shown_estimate(
    name: str, metric: str, estimate: Estimate
) -> tuple[Number | None, Number | None, Number | None]:
    """Return a metric's value and the bounds of its interval, where there are such."""
    if estimate.value is None:
        return None, None, None
    value = metric_number(f"{name}.value", metric, estimate.value)
    if estimate.low is None or estimate.high is None:
        return value, None, None
    low, high = estimate.low, estimate.high
    return value, like(value, f"{name}.low", low), like(value, f"{name}.high", high)


def notes(results: Results, value: Number | None) -> list[Sentence]:
    """Return what to know about the validation's result."""
    evaluation, found = results.evaluation, []
    if value is None:
        found.append(
            say("The metric is not defined on these images: they may all be of one class.")
        )
    if evaluation.metric != "accuracy":
        better = "Higher" if higher_is_better(evaluation.metric) else "Lower"
        found.append(say(f"{better} is better."))
        if evaluation.accuracy.value is not None:
            shown = percent("accuracy.value", evaluation.accuracy.value)
            accuracy = with_interval("accuracy", shown, evaluation.accuracy)
            found.append(say("The accuracy is {accuracy}.", accuracy=accuracy))
    if results.members > 1:
        found.append(
            say(
                "This is the result of one member; the submission averages {members}.",
                members=whole("members", results.members),
            )
        )
    return found


def test_notes(results: Results, low: Number | None, high: Number | None) -> list[Sentence]:
    """Return what to know about the submission's score, whose interval is given."""
    score, estimate = results.score, results.evaluation.metric_value
    if score is None:
        return [say("No score of the test images is known here.")]
    images = amount("score.n", score.images, "test image")
    if score.value is None:
        return [say("The metric is not defined on the {images}.", images=images)]
    found = []
    if low is not None and high is not None:
        found.append(
            say("95\N{NO-BREAK SPACE}% confidence interval: {low} to {high}", low=low, high=high)
        )
    model = "the final model, which was" if results.members == 1 else "the final models, which were"
    found.append(
        say(
            "On {images}, whose labels are known here, by "
            f"{model} trained on all labelled images.",
            images=images,
        )
    )
    if score.metric != "accuracy" and score.accuracy is not None:
        accuracy = percent("score.accuracy", score.accuracy)
        found.append(say("The accuracy is {accuracy}.", accuracy=accuracy))
    if score.metric == results.evaluation.metric:
        found += beside_validation(score_interval(score), estimate, score.metric)
    return found


def score_interval(score: Score) -> Estimate:
    """Return a score with its interval, if it is a fraction of images, else without bounds."""
    if score.value is None or not is_fraction_of_images(score.metric):
        return Estimate(score.value, None, None)
    hits = np.array([round(score.value * score.images)])
    (interval,) = intervals.estimates(intervals.wilson(hits, np.array([score.images])))
    return replace(interval, value=score.value)


def beside_validation(score: Estimate, validation: Estimate, metric: str) -> list[Sentence]:
    """Return whether the test images say the same as the validation images."""
    low, high, value = validation.low, validation.high, score.value
    if low is None or high is None or value is None:
        return []
    if score.low is None or score.high is None:
        place = "inside" if low <= value <= high else "outside"
        return [say(f"That is {place} the validation’s interval.")]
    if score.low <= high and low <= score.high:
        return [say("That agrees with the validation: a difference may be chance.")]
    is_better = (value > high) == higher_is_better(metric)
    return [
        say(
            f"That is {'better' if is_better else 'worse'} than the validation, by more than "
            "chance in the draw of the images explains."
        )
    ]


def facts(
    results: Results, models: Sequence[Path], costs: Sequence[StageCost]
) -> list[tuple[str, Sentence]]:
    """Return what was run on what, and how long it took, as terms and their words."""
    run, metrics, data = results.run, results.metrics, results.data_report
    title = run.recipe.get("title")
    found = [
        ("Dataset", dataset(run)),
        ("Recipe", say("{run}: {title}" if title else "{run}", run=run.run, title=str(title))),
        ("Network", network(run.recipe.get("model"), models)),
        *([("Pretrained", pretrained_weights(results.pretrained))] if results.pretrained else []),
        (
            "Training",
            say(
                "{epochs} on {device} in {precision}: {seconds}, at {speed} images a second",
                epochs=amount("epochs", metrics.epochs, "epoch"),
                device=metrics.device,
                precision=metrics.precision,
                seconds=time("train_seconds", metrics.seconds),
                speed=decimal("images_per_second", metrics.examples_per_second, 0),
            ),
        ),
        ("Final model", final_models(results)),
    ]
    if data is not None:
        found.append(
            (
                "Images",
                say(
                    "{train} to train on, {valid} to validate, {test} to predict, in {classes}",
                    train=whole("train_images", data["images"]["train"]),
                    valid=whole("valid_images", data["images"]["valid"]),
                    test=whole("test_images", data["images"]["test"]),
                    classes=amount("classes", len(results.evaluation.classes), "class", "classes"),
                ),
            )
        )
    if costs:
        found.append(
            (
                "All stages",
                say("{time}", time=time("all_seconds", sum(one.seconds for one in costs))),
            )
        )
    return found


def dataset(run: Run) -> Sentence:
    """Return the dataset's name, and where its files come from."""
    options = run.dataset_file
    origin = {
        "generated": "pictures that were drawn here",
        "kaggle": "files from Kaggle ({competition})",
        "url": "downloaded files",
    }.get(str(options.get("source")), "files of one’s own")
    return say(f"{{name}}: {origin}", name=run.dataset, competition=str(options.get("competition")))


def network(model: object, models: Sequence[Path]) -> Sentence:
    """Return the network's name, and how many parameters it has."""
    options = model if isinstance(model, dict) else {}
    name = library_name(options)
    if isinstance(options.get("on"), dict):
        name += f" on {library_name(options['on'])}"
    count = read_or_none(count_parameters, models[0] if models else None)
    if count is None:
        return say("{name}", name=name)
    return say("{name}, {count}", name=name, count=amount("parameters", count, "parameter"))


def library_name(options: Mapping[str, object]) -> str:
    """Return the name of a network, such as "timm resnet18"."""
    return " ".join(str(options[key]) for key in ("name", "architecture") if key in options)


def pretrained_weights(record: WeightsRecord) -> Sentence:
    """Return which weights a network starts from, and their license."""
    values = {"library": record.package, "architecture": record.architecture}
    which = "weights of {library}’s {architecture} from the file {origin}"
    if record.pretrained_on is not None:
        which = "the weights {name} of {library}’s {architecture}"
    license_words = "license: {license}"
    if record.license is None:
        license_words = "their license is not known here"
    return say(
        f"{which}; {license_words}",
        **values,
        name=record.pretrained_on or "",
        origin=record.origin,
        license=record.license or "",
    )


def count_parameters(path: Path) -> int:
    """Return the number of learned values in a .safetensors file.

    Its header says it: https://github.com/huggingface/safetensors#format
    """
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
    header.pop("__metadata__", None)
    return sum(
        math.prod(tensor["shape"])
        for name, tensor in header.items()
        if not name.endswith(NOT_LEARNED)
    )


def final_models(results: Results) -> Sentence:
    """Return which models the submission comes from."""
    seconds = time("final_seconds", sum(one.seconds for one in results.finals))
    if results.members == 1:
        return say("trained anew on all labelled images: {seconds}", seconds=seconds)
    return say(
        "{members}, trained anew on all labelled images: {seconds}",
        members=amount("members", results.members, "member"),
        seconds=seconds,
    )
