"""The form of the submission, by its sample, and the metric that goes with it.

The files do not tell the metric, so a human has to look at it.
"""

from pathlib import Path

from imagepipe.config.dataset import ProbabilityForm, SampleForm, Submission
from imagepipe.dataset.forms import choose_form, choose_metric, is_probability, positive_class
from imagepipe.dataset.label_kinds import asks_for_category_ids
from imagepipe.dataset.submission_form import SubmissionForm
from imagepipe.dataset.test_images import Sample
from imagepipe.errors import UserError, quoted
from imagepipe.inspection.columns import number
from imagepipe.inspection.evidence import Coco, Evidence, Guess
from imagepipe.inspection.label_sources import FoundLabels

# Other metrics to choose from, by the form.
OTHER_METRICS = {
    "label": "f1_macro, f1_micro, quadratic_weighted_kappa",
    "probabilities": "accuracy, log_loss, mean_column_roc_auc",
    "probability": "accuracy, log_loss",
    "top_k": "accuracy, top_5_error",
    "several_labels": "f1_macro, f1_micro, f2",
}


def add_form(found: Guess, evidence: Evidence, labels: FoundLabels) -> None:
    """Set the keys of the submission in `found`."""
    table = evidence.sample
    if table is None:
        return
    found.use(table.file)
    found.values["sample_submission"] = table.name
    ids = evidence.sample_id_column
    others = tuple(name for name in table.header if name != ids)
    if not labels.classes or not others:
        return
    values = table.columns[others[0]] if len(others) == 1 else []
    sample = Sample(Path(table.file.path), ids, others, [], values)
    if isinstance(labels.source, Coco) and asks_for_category_ids(labels.source.images, sample):
        labels.classes = sorted({i for image in labels.source.images for i in image.category_ids})
    zero_or_one = is_zero_or_one(sample, labels)
    wanted = "roc_auc" if zero_or_one else None
    separator = labels.values.get("separator")
    try:
        form = choose_form(
            one_probability(found, sample, labels),
            sample,
            labels.classes,
            several=labels.several,
            metric=wanted,
            separator=separator if isinstance(separator, str) else None,
        )
        metric = choose_metric(wanted, form, labels.classes, several=labels.several).name
    except UserError as error:
        found.notes.append(f"the sample does not fit the labels: {error}")
        return
    if form.name == "label" and any("." in value for value in set(values) if number(value)):
        found.notes.append(f"{table.name} asks for numbers, not classes: this may not fit")
    elif form.name == "label" and (unknown := sorted(set(values) - {"", *labels.classes})):
        found.notes.append(
            f"{table.name} has {quoted(unknown[0])}, which no training image is: check label_column"
        )
    found.lines.append(f"a submission like {table.name}: {words_of(form)}")
    found.values["metric"] = metric
    others_named = OTHER_METRICS[form.name].split(", ")
    listed = ", ".join(name for name in others_named if name != metric)
    if zero_or_one:
        listed = "log_loss; f1 or accuracy for labels instead of probabilities"
    found.choose["metric"] = f"the competition's page says which; others: {listed}"


def is_zero_or_one(sample: Sample, labels: FoundLabels) -> bool:
    """Return whether the sample may have labels or probabilities: 0 or 1 in every row."""
    if labels.several or labels.classes != ["0", "1"]:
        return False
    return len(set(sample.values)) == 1 and set(sample.values) <= {"0", "1"}


def one_probability(found: Guess, sample: Sample, labels: FoundLabels) -> Submission:
    """Set the class whose probability is asked for, if the sample has one and does not say which.

    Return the form.
    """
    values, classes = sample.values, sorted(labels.classes)
    if labels.several or len(classes) != 2 or not values or not all(map(is_probability, values)):
        return SampleForm()
    if set(values) <= set(classes) or positive_class(sample.columns[0], classes) is not None:
        return SampleForm()
    form = ProbabilityForm(positive=classes[1])
    found.values["submission"] = {"name": form.name, "positive": form.positive}
    found.choose["submission"] = f"the probability of {classes[1]}, or of {classes[0]}?"
    return form


def words_of(form: SubmissionForm) -> str:
    """Return a form in words."""
    match form.name:
        case "probabilities":
            unknown = sum(column is None for column in form.columns)
            more = f", {unknown:,} of which have no training images" if unknown else ""
            return f"a probability for each of {len(form.columns):,} classes{more}"
        case "probability":
            return f"{form.header[1]}, the probability of {form.positive}"
        case "top_k":
            return f"{form.header[1]}, the {form.k} likeliest classes"
        case "several_labels":
            return f"{form.header[1]}, all classes of an image"
    return f"{form.header[1]}, the class"
