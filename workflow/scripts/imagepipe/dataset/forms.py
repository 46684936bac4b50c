"""Deciding the form of the submission, and its metric, before anything is trained."""

import logging
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from imagepipe.config.dataset import (
    LabelForm,
    Metric,
    ProbabilitiesForm,
    ProbabilityForm,
    SampleForm,
    SeveralLabelsForm,
    Submission,
    TopKForm,
)
from imagepipe.config.metric_names import k_of_metric
from imagepipe.dataset.submission_form import FormName, MetricChoice, SubmissionForm
from imagepipe.dataset.test_images import Sample
from imagepipe.errors import UserError, quoted

logger = logging.getLogger(__name__)

POSITIVE = ("1", "1.0", "true", "yes", "positive", "pos", "y", "t")
SEPARATORS = (" ", ",", ";", "|")
# The forms that each metric can judge; names of metrics with a number are without it.
FORMS_OF_METRIC: dict[str, tuple[FormName, ...]] = {
    "accuracy": ("label", "probabilities", "probability", "top_k", "several_labels"),
    "top_k_error": ("probabilities", "top_k"),
    "log_loss": ("probabilities", "probability"),
    "roc_auc": ("probability", "probabilities"),
    "mean_column_roc_auc": ("probabilities",),
    "f1": ("label",),
    "f1_micro": ("label", "several_labels"),
    "f1_macro": ("label", "several_labels"),
    "f1_samples": ("several_labels",),
    "f2": ("several_labels",),
    "quadratic_weighted_kappa": ("label",),
    "map_at_k": ("top_k",),
}
TWO_CLASSES = ("roc_auc", "f1")
PROBABILITY_METRICS = ("log_loss", "roc_auc")
MAX_NAMED = 3


def choose_form(
    submission: Submission,
    sample: Sample | None,
    classes: Sequence[str],
    *,
    several: bool,
    metric: Metric | None,
    separator: str | None,
) -> SubmissionForm:
    """Return the form of the submission, read from the sample or given by `submission`.

    `classes` are those of the training images, `several` says whether an image may have several,
    and `separator` what separates them in the labels. Raises `UserError` for a form that does not
    suit the classes, or a sample of another form.
    """
    if isinstance(submission, SampleForm):
        if sample is None:
            submission = form_without_sample(classes, several=several, metric=metric)
        elif len(sample.columns) > 1:
            submission = ProbabilitiesForm()
        else:
            submission = read_column(
                sample, classes, several=several, metric=metric, separator=separator
            )
    assert not isinstance(submission, SampleForm)
    given = SampleColumns(sample, submission.id_column)
    match submission:
        case ProbabilitiesForm():
            header = given.header(classes)
            columns = match_columns(header[1:], classes, given.place)
            return SubmissionForm("probabilities", header, columns)
        case ProbabilityForm():
            header = given.header([submission.probability_column], single=True)
            if several or len(classes) != 2:
                raise UserError(
                    f"{given.place}: one probability needs labels of two classes, but there are "
                    f"{len(classes)}{' in several' if several else ''}; correct submission"
                )
            if submission.positive not in classes:
                raise UserError(
                    f"{given.place}: submission.positive is {quoted(submission.positive)}, but "
                    f"must be one of {' and '.join(map(quoted, classes))}"
                )
            positive = submission.positive
            return SubmissionForm("probability", header, (positive,), positive)
        case SeveralLabelsForm():
            header = given.header([submission.label_column], single=True)
            if not several:
                raise UserError(
                    f"{given.place}: several_labels needs labels with several classes; correct "
                    "submission, or set labels.separator or labels.several"
                )
            refuse_separator(given.place, classes, submission.separator)
            return SubmissionForm("several_labels", header, separator=submission.separator)
        case LabelForm() | TopKForm():
            header = given.header([submission.label_column], single=True)
            if several:
                raise UserError(
                    f"{given.place}: images have several labels, so the submission must be "
                    "several_labels or probabilities; correct submission"
                )
            if isinstance(submission, TopKForm):
                k = min(submission.k, len(classes))
                if k > 1:
                    refuse_separator(given.place, classes, submission.separator)
                return SubmissionForm("top_k", header, k=k, separator=submission.separator)
            return SubmissionForm("label", header)
    raise AssertionError(submission)


def refuse_separator(place: str, classes: Iterable[str], separator: str) -> None:
    """Raise `UserError` for a class whose name has what separates the classes in a field."""
    name = next((name for name in classes if separator in name), None)
    if name is not None:
        raise UserError(
            f"{place}: {separator!r} is to separate the labels of a field, but the label "
            f"{quoted(name)} has it; set another submission.separator, or rename the label"
        )


class SampleColumns:
    """The header of the sample submission or, without one, of our own making."""

    def __init__(self, sample: Sample | None, id_column: str) -> None:
        self.sample = sample
        self.id_column = id_column
        self.place = f"{sample.path}: row 1" if sample else "submission"

    def header(self, columns: Iterable[str], *, single: bool = False) -> tuple[str, ...]:
        """Return the header. Raises `UserError` for several columns where one is expected."""
        if self.sample is None:
            return (self.id_column, *columns)
        found = self.sample.columns
        if single and len(found) != 1:
            raise UserError(
                f"{self.place}: has {len(found) + 1} columns where an id and one more are "
                "expected; correct submission, or get the sample submission again"
            )
        return (self.sample.id_column, *found)


def form_without_sample(
    classes: Sequence[str], *, several: bool, metric: Metric | None
) -> Submission:
    """Return the form that suits the labels and the metric."""
    if metric in ("log_loss", "mean_column_roc_auc"):
        return ProbabilitiesForm()
    if metric == "roc_auc":
        return ProbabilityForm(positive=positive_class("", classes) or sorted(classes)[-1])
    free = (one for one in SEPARATORS if not any(one in name for name in classes))
    separator = next(free, SEPARATORS[0])
    if several:
        return SeveralLabelsForm(separator=separator)
    k = k_of_metric(metric or "")
    return LabelForm() if k is None else TopKForm(k=k, separator=separator)


def read_column(
    sample: Sample,
    classes: Sequence[str],
    *,
    several: bool,
    metric: Metric | None,
    separator: str | None,
) -> Submission:
    """Return the form of a sample submission with one column besides the ids.

    The values of two-class samples are labels if they are classes, or else probabilities. Fields of
    several known classes are lists of the likeliest, or all of an image's labels.
    """
    known = set(classes)
    values = [unicodedata.normalize("NFC", value) for value in sample.values]
    unknown = [value for value in values if value not in known]
    if several:
        return SeveralLabelsForm(separator=separator_of(unknown, known, separator) or " ")
    found = separator_of(unknown, known, None)
    k = k_of_metric(metric or "")
    if found is not None:
        lengths = Counter(len(value.split(found)) for value in unknown)
        most = max(lengths, key=lambda length: (lengths[length], length))
        return TopKForm(k=max(most, 2), separator=found)
    if k is not None and k > 1:
        return TopKForm(k=k)
    is_numbers = bool(values) and all(map(is_probability, values))
    binary = known <= {"0", "1"} and metric in PROBABILITY_METRICS
    if len(classes) == 2 and is_numbers and (unknown or binary):
        column = sample.columns[0]
        positive = positive_class(column, classes)
        if positive is None:
            raise UserError(
                f"{sample.path}: row 1: the column {quoted(column)} holds the probability of one "
                f"of the classes {' and '.join(map(quoted, classes))}, but it does not say which; "
                "set submission: {name: probability, positive: CLASS} in the dataset file"
            )
        logger.info(f"{sample.path}: {column} is the probability of class {quoted(positive)}")
        return ProbabilityForm(positive=positive)
    unknown = [value for value in unknown if value]
    if unknown:
        logger.warning(
            f"{sample.path}: warning: {len(unknown):,} of {len(values):,} labels, such as "
            f"{quoted(unknown[0])}, are not classes of the training images"
        )
    if known <= {"0", "1"} and metric is None and len(set(values)) == 1:
        logger.warning(
            f"{sample.path}: warning: every value is {values[0]}, which is read as a class; if "
            "probabilities are wanted, set metric: roc_auc or log_loss in the dataset file"
        )
    return LabelForm()


def is_probability(value: str) -> bool:
    """Return whether text is a number in 0...1."""
    try:
        return 0 <= float(value) <= 1
    except ValueError:
        return False


def separator_of(values: Iterable[str], known: set[str], first: str | None) -> str | None:
    """Return what separates known classes in some value, or None.

    At least half of the parts of a value must be classes.
    """
    separators = [first, *SEPARATORS] if first else SEPARATORS
    for separator in separators:
        for value in values:
            parts = [part.strip() for part in value.split(separator)]
            if len(parts) > 1 and 2 * sum(part in known for part in parts) >= len(parts):
                return separator
    return first


def positive_class(column: str, classes: Sequence[str]) -> str | None:
    """Return the class that a column of probabilities is named after, or the one that means yes."""
    for words in (column.casefold(), *re.split(r"[^a-z0-9]+", column.casefold())):
        named = [name for name in classes if name.casefold() == words]
        if len(named) == 1:
            return named[0]
    meaning_yes = [name for name in classes if name.casefold() in POSITIVE]
    # Of the classes 1 and 2, either may be meant.
    is_counted = any(re.fullmatch(r"0*([2-9]|[1-9][0-9]+)(\.0+)?", name) for name in classes)
    return meaning_yes[0] if len(meaning_yes) == 1 and not is_counted else None


def match_columns(
    columns: Sequence[str], classes: Sequence[str], place: str
) -> tuple[str | None, ...]:
    """Return the class of each column, None where no training image has it.

    Names may differ in case, and in spaces, "_" and the like. Raises `UserError` for a class
    without column.
    """
    matched: list[str | None] = []
    for simplified in (unicode_form, simple_name, number_at_end):
        class_of = unique(classes, simplified)
        column_of = unique(columns, simplified)
        if set(class_of) <= set(column_of):
            name_of = {column: class_of.get(name) for name, column in column_of.items()}
            matched = [name_of.get(column) for column in columns]
            break
    else:
        missing = sorted(set(classes) - set(columns))
        other = sorted(set(columns) - set(classes))
        others = f" (but {some(other)})" if other else ""
        raise UserError(
            f"{place}: there is no column for {'class' if len(missing) == 1 else 'classes'} "
            f"{some(missing)}{others}; correct the labels, or get the sample submission again"
        )
    empty = [column for column, name in zip(columns, matched, strict=True) if name is None]
    if empty:
        logger.warning(
            f"{place}: warning: no training image has {'the class' if len(empty) == 1 else 'a'} "
            f"{some(empty)}: {'its' if len(empty) == 1 else 'their'} probability is 0"
        )
    return tuple(matched)


def unique(names: Sequence[str], simplified: Callable[[str], str]) -> dict[str, str]:
    """Return {simplified name: name}, or {name: name} if two names become equal."""
    found = {simplified(name): name for name in names}
    return found if len(found) == len(names) else {name: name for name in names}


def unicode_form(name: str) -> str:
    """Return a name in Unicode's form NFC."""
    return unicodedata.normalize("NFC", name)


def simple_name(name: str) -> str:
    """Return a name's letters and digits."""
    return re.sub(r"[\W_]+", " ", unicode_form(name).casefold()).strip()


def number_at_end(name: str) -> str:
    """Return the number at the end of a name, such as 3 of class_3, or the name."""
    number = re.fullmatch(r"\D*?0*([0-9]+)(\.0)?", name)
    return number[1] if number else name


def some(names: Sequence[str]) -> str:
    """Return the first few names, and how many more there are."""
    more = len(names) - MAX_NAMED
    return ", ".join(map(quoted, names[:MAX_NAMED])) + (f" and {more:,} more" if more > 0 else "")


def choose_metric(
    metric: Metric | None, form: SubmissionForm, classes: Sequence[str], *, several: bool
) -> MetricChoice:
    """Return the metric, by default the one that suits the form.

    Raises `UserError` for a metric that cannot judge the form, or the classes.
    """
    defaults: dict[FormName, str] = {
        "label": "accuracy",
        "probabilities": "log_loss",
        "probability": "roc_auc",
        "top_k": f"map_at_{form.k}",
        "several_labels": "f1_samples",
    }
    name = metric or defaults[form.name]
    kind = re.sub(r"(?<=_)[0-9]+", "k", name)
    forms = FORMS_OF_METRIC[kind]
    if k_of_metric(name) == 1:
        forms = (*forms, "label")
    if form.name not in forms:
        raise UserError(
            f"metric: {name} needs a submission of {' or '.join(forms)}, but it is "
            f"{form.name}; correct metric, or submission"
        )
    if kind in TWO_CLASSES and len(classes) != 2:
        raise UserError(
            f"metric: {name} needs two classes, but there are {len(classes):,}; correct metric"
        )
    if several and kind in ("top_k_error", *TWO_CLASSES):
        raise UserError(f"metric: {name} needs images with one label each; correct metric")
    if kind == "quadratic_weighted_kappa":
        text = next((c for c in classes if not re.fullmatch(r"-?[0-9]+(\.0+)?", c)), None)
        if text is not None:
            raise UserError(
                f"metric: {name} needs labels that are whole numbers, but one is "
                f"{quoted(text)}; correct metric"
            )
    positive = form.positive
    if positive is None and kind in TWO_CLASSES:
        # scikit-learn's default is 1.
        default = "1" if "1" in classes else sorted(classes)[-1]
        positive = positive_class("", classes) or default
    return MetricChoice(name, positive)
