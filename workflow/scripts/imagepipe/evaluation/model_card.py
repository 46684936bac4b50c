"""The model card: what the final model is, and what is known about it, in Hugging Face's form.

https://huggingface.co/docs/hub/model-cards describes the form; the front matter is for programs.
"""

import json
import os
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from imagepipe.config.metric_names import metric_words
from imagepipe.config.weights import WeightsRecord
from imagepipe.display.escaping import as_yaml, escape_markdown
from imagepipe.evaluation.answer import facts, network, score_interval
from imagepipe.evaluation.captions import FIGURES
from imagepipe.evaluation.evaluation_file import Estimate
from imagepipe.evaluation.findings import calibration, how_good, limits
from imagepipe.evaluation.provenance import Provenance, command, without_paths
from imagepipe.evaluation.ranking import worst_first
from imagepipe.evaluation.report_inputs import (
    FileHash,
    Results,
    Run,
    RunFiles,
    hash_of,
    read_or_none,
    read_results_of_run,
    read_sums,
    source_of,
)
from imagepipe.evaluation.sentences import (
    Sentence,
    amount,
    like,
    listed,
    metric_name,
    metric_number,
    say,
)
from imagepipe.files import write_text

CLASSES_LISTED = 20
CLASSES_NAMED = 10
VALIDATION = "validation (the same recipe, trained without it)"
FINDINGS_LISTED = 5
# The user's to choose: what may be done with a model depends on the terms of its data, too.
LICENSE = "unknown"


def write_model_card(inputs: RunFiles, run: Run, provenance: Provenance, target: Path) -> None:
    """Write the card, a Markdown file with links relative to its folder.

    Of the figures below its own folder, it links to the PNG files. Raises `UserError` if the
    evaluation or a metrics.json cannot be read.
    """
    results = read_results_of_run(run, inputs)
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"fenced": fenced, "md": escape_markdown}
    beside = [os.path.relpath(path, target.parent) for path in inputs.models]
    text = environment.get_template("model_card.md.j2").render(
        front_matter=front_matter(results),
        title=escape_markdown(f"{run.title[:1].upper()}{run.title[1:]}: {run.run}"),
        summary=summary(results, inputs.models),
        model_files=" ".join(map(shlex.quote, beside)),
        model_list=", ".join(map(json.dumps, beside)),
        members=results.members,
        data=data(results),
        facts=facts(results, inputs.models, []),
        recipe=as_yaml(without_paths(run.recipe)),
        evaluation=results.evaluation,
        metrics=metric_rows(results),
        metric_words=metric_words(results.evaluation.metric),
        has_score=results.score is not None,
        good=how_good(results),
        classes=class_rows(results),
        classes_title=classes_title(results),
        confidence=calibration(results),
        limits=limits(results),
        figures={
            FIGURES[name]: path.with_suffix(".png").relative_to(target.parent)
            for name, path in inputs.figures.items()
            # Others would be missing where the folder is published.
            if path.is_relative_to(target.parent)
        },
        files=files(inputs, beside, results.pretrained),
        terms="the dataset and of the pretrained weights" if results.pretrained else "the dataset",
        command=command(run.settings),
        software=software(provenance),
    )
    write_text(target, text.strip() + "\n")


def front_matter(results: Results) -> str:
    """Return what programs read, as YAML."""
    run, evaluation, score = results.run, results.evaluation, results.score
    found = []
    for split, metric, value in (
        # Not of these weights, which were trained on these images, too.
        (VALIDATION, evaluation.metric, evaluation.metric_value.value),
        *([("test", score.metric, score.value)] if score else []),
    ):
        if value is not None:
            found.append(
                {
                    "task": {"type": "image-classification"},
                    "dataset": {"name": run.title, "type": run.dataset, "split": split},
                    "metrics": [{"type": metric, "name": metric_name(metric), "value": value}],
                }
            )
    return as_yaml(
        {
            "license": LICENSE,
            "library_name": "imagepipe",
            "pipeline_tag": "image-classification",
            "tags": ["image-classification", "imagepipe"],
            "model-index": [{"name": f"{run.dataset}-{run.run}", "results": found}],
        }
    )


def summary(results: Results, models: Sequence[Path]) -> Sentence:
    """Return what the model is."""
    classes = results.evaluation.classes
    several = "any number of" if results.evaluation.several_labels else "one of"
    more = len(classes) - CLASSES_NAMED
    names = [say("{name}", name=name) for name in classes[:CLASSES_NAMED]]
    return say(
        f"A network ({{network}}) that gives an image {several} {{classes}}: {{names}}",
        network=network(results.run.recipe.get("model"), models),
        classes=amount("classes", len(classes), "class", "classes"),
        names=listed("", names, end=f" and {more:,} more." if more > 0 else "."),
    )


def data(results: Results) -> list[str]:
    """Return what the model was trained on, as Markdown."""
    report, options = results.data_report, results.run.dataset_file
    origin = options.get("homepage") or options.get("competition") or options.get("source")
    found = [f"Dataset: {escape_markdown(results.run.title)} ({escape_markdown(origin)})."]
    if report is None:
        return [*found, "The data check’s report could not be read."]
    images, size = report["images"], report["size"]
    found.append(
        f"{images['train'] + images['valid']:,} labelled images, stored with a height of "
        f"{size['height']} and a width of {size['width']} pixels. The recipe was validated on "
        f"{images['valid']:,} of them, after training on the other {images['train']:,}."
    )
    messages = [item["message"] for item in report["attention"]]
    if not messages:
        return [*found, "The data check found nothing that needs attention."]
    found += [f"The data check: {escape_markdown(one)}." for one in messages[:FINDINGS_LISTED]]
    more = len(messages) - FINDINGS_LISTED
    return [*found, f"The data check has {more} more."] if more > 0 else found


def metric_rows(results: Results) -> list[list[str]]:
    """Return metric, images, value and interval."""
    evaluation, score = results.evaluation, results.score
    metric, found = evaluation.metric, []
    names = dict.fromkeys((metric, "accuracy", "f1_macro"))
    estimates = {"f1_macro": evaluation.macro_f1, "accuracy": evaluation.accuracy}
    estimates[metric] = evaluation.metric_value
    for name in names:
        what, images = f"{metric_name(name)}, validation", f"{evaluation.images:,}"
        found.append([what, images, *value_and_interval(name, estimates[name])])
    if score is not None:
        what, images = f"{metric_name(score.metric)}, test", f"{score.images:,}"
        found.append([what, images, *value_and_interval(score.metric, score_interval(score))])
    return found


def value_and_interval(metric: str, estimate: Estimate) -> list[str]:
    """Return a metric's value and interval as text."""
    if estimate.value is None:
        return ["not defined", ""]
    value = metric_number(metric, metric, estimate.value)
    if estimate.low is None or estimate.high is None:
        return [value.text, ""]
    low, high = (like(value, metric, bound).text for bound in (estimate.low, estimate.high))
    return [value.text, f"{low} to {high}"]


def class_rows(results: Results) -> list[list[str]]:
    """Return the classes with the lowest F1; those without validation images are last."""
    found = []
    for one in worst_first(results.evaluation.by_class):
        interval = ""
        if one.f1.low is not None and one.f1.high is not None:
            interval = f"{one.f1.low:.2f} to {one.f1.high:.2f}"
        values = ["" if e.value is None else f"{e.value:.2f}" for e in (one.precision, one.recall)]
        f1 = "" if one.f1.value is None else f"{one.f1.value:.2f}"
        found.append([escape_markdown(one.name), f"{one.images:,}", *values, f1, interval])
    return found[:CLASSES_LISTED]


def classes_title(results: Results) -> str:
    """Return the words above the table of classes."""
    count = len(results.evaluation.classes)
    if count <= CLASSES_LISTED:
        return "Every class, the lowest F1 first:"
    return f"The {CLASSES_LISTED} classes with the lowest F1, of {count:,}:"


def files(
    inputs: RunFiles, beside: Sequence[str], pretrained: WeightsRecord | None
) -> list[FileHash]:
    """Return the models, by their paths from the card, the weights and the dataset's files."""
    models = [read_or_none(hash_of, path) for path in inputs.models]
    named = zip(beside, models, strict=True)
    return [
        *(FileHash(path, one.sha256) for path, one in named if one),
        *([source_of(pretrained)] if pretrained else []),
        *(read_or_none(read_sums, inputs.sums) or ()),
    ]


def software(provenance: Provenance) -> str:
    """Return the versions and the commit, as Markdown."""
    versions = ", ".join(f"{name} {version}" for name, version in provenance.versions.items())
    commit = provenance.commit or "not known"
    return (
        f"Installed when this card was written: {escape_markdown(versions)}. Commit of the "
        f"workflow: {escape_markdown(commit)}."
    )


def fenced(text: str, language: str) -> str:
    """Return text as a block of code, whose fence is longer than any in the text."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}{language}\n{text}\n{fence}"
