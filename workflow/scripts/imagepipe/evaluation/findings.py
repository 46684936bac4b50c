"""What the numbers of a run mean, in sentences: how good it is, where it fails, can one trust it.

Each function returns sentences in the order of their weight. They hold for the extremes, too: one
validation image, no mistakes, a metric or an interval that is not defined.
"""

from functools import partial

from imagepipe.checks.data_report import Report
from imagepipe.config.metric_names import is_fraction_of_images
from imagepipe.evaluation.answer import pretrained_weights
from imagepipe.evaluation.evaluation_file import ON_THESE_IMAGES, ClassResult, label_words
from imagepipe.evaluation.report_inputs import Results, Run, Table
from imagepipe.evaluation.sentences import (
    Sentence,
    amount,
    decimal,
    listed,
    percent,
    points,
    say,
    whole,
    with_interval,
)

LISTED = 3
# A difference of mean confidence and accuracy that is worth a word.
CALIBRATED = 0.02
# With several labels, also this part of the share of pairs that are labels.
CALIBRATED_SHARE = 0.1
# A class is weak below this F1.
WEAK = 0.8
# An accuracy is hardly known if its interval is as wide as this.
WIDE = 0.25


def how_good(results: Results) -> list[Sentence]:
    """Return what the validation says about the network's quality."""
    evaluation, found = results.evaluation, [right_images(results)]
    accuracy, majority = evaluation.decision_accuracy.value, evaluation.majority
    if accuracy is not None:
        found.append(against_majority(accuracy, majority, several=evaluation.several_labels))
    if evaluation.accuracy.value is not None:
        found.append(beside_training(results, evaluation.accuracy.value))
    if evaluation.macro_f1.value is not None and evaluation.metric != "f1_macro":
        value = decimal("macro_f1.value", evaluation.macro_f1.value)
        f1_words = with_interval("macro_f1", value, evaluation.macro_f1)
        found.append(say("The mean F1 of the classes is {f1}.", "mistakes", f1=f1_words))
    return [*found, *among_runs(results)]


def right_images(results: Results) -> Sentence:
    """Return how many validation images are right."""
    evaluation = results.evaluation
    right = evaluation.images - evaluation.mistake_count
    template = "{right} of {images} {are} right."
    if evaluation.several_labels:
        template = "{right} of {images} {are} right about every label."
    return say(
        template,
        right=whole("right", right),
        images=amount("images", evaluation.images, "validation image"),
        are="is" if 1 in (right, evaluation.images) else "are",
    )


def against_majority(accuracy: float, majority: float, *, several: bool) -> Sentence:
    """Return how the network compares with always predicting the same."""
    always = "the most frequent labels" if several else "the most frequent class"
    base = percent("majority", majority)
    if majority >= 1:
        same = "labels" if several else "class"
        return say(f"All validation images have the same {same}, which it is easy to be right for.")
    if accuracy <= majority:
        return say(
            f"Always predicting {always} would be right for {{base}}: the network is no better.",
            base=base,
        )
    if accuracy == 1:
        return say(f"Always predicting {always} would be right for {{base}}.", base=base)
    return say(
        f"Always predicting {always} would be right for {{base}}; the network makes {{fewer}} "
        "fewer mistakes.",
        base=base,
        fewer=percent("error_reduction", (accuracy - majority) / (1 - majority)),
    )


def beside_training(results: Results, accuracy: float) -> Sentence:
    """Return how the validation images compare with the training images."""
    train = results.metrics.train_accuracy
    start = (
        "In the last epoch, {train} of the training images were right, as the augmentation showed "
        "them"
    )
    if results.has_frozen_features:
        start = "Of the training images, {train} are right"
    return say(
        f"{start}; of the validation images, {{valid}}: {{gap}} {{less}}.",
        "learning",
        train=percent("train_accuracy", train),
        valid=percent("accuracy.value", accuracy),
        gap=points("gap", abs(train - accuracy)),
        less="less" if train >= accuracy else "more",
    )


def among_runs(results: Results) -> list[Sentence]:
    """Return the run's rank among the validated runs."""
    runs = results.runs
    if runs is None:
        return []
    position = position_of(results.run, runs)
    if position is None:
        return []
    own = runs.rows[position]
    # Others were validated on other images, or by another metric.
    alike = [row for row in runs.rows if row.get("split") == own.get("split")]
    metric = results.evaluation.metric
    if metric != "accuracy":
        alike = [row for row in alike if row.get(metric)]
    if own not in alike:
        return []
    number = len(alike)
    rank, count, best = alike.index(own) + 1, whole("runs", number), alike[0]
    if number == 1:
        return [say("It is the only run on these images so far.", "runs")]
    if rank == 1:
        return [
            say(
                "It is the best of {count} runs on these images; a result picked as the best "
                "tends to be a little too good.",
                "runs",
                count=count,
            )
        ]
    return [
        say(
            "It is number {rank} of {count} runs; the best is {best}, seed {seed}.",
            "runs",
            rank=whole("rank", rank),
            count=count,
            best=best["run"],
            seed=best["seed"],
        )
    ]


def position_of(run: Run, runs: Table) -> int | None:
    """Return the position of a run's validated training in the table of runs, if it is there."""
    own = (run.run, str(run.seeds[0]))
    return next(
        (i for i, row in enumerate(runs.rows) if (row.get("run"), row.get("seed")) == own), None
    )


def where_it_fails(results: Results) -> list[Sentence]:
    """Return the weakest classes, the most confused pairs and the surest mistake."""
    evaluation, found = results.evaluation, []
    total = amount("images", evaluation.images, "validation image")
    wrong = evaluation.mistake_count
    if wrong:
        found.append(wrong_images(results))
    else:
        found.append(say("It makes no mistake on {total}.", total=total))
        if evaluation.decision_accuracy.low is not None:
            found.append(
                say(
                    "Of many more images, up to {most} may be wrong, by the 95\N{NO-BREAK SPACE}% "
                    "interval.",
                    most=percent("most_wrong", 1 - evaluation.decision_accuracy.low),
                )
            )
    if weakest := weakest_classes(results):
        found.append(
            listed(
                "The weakest class by F1 is "
                if len(weakest) == 1
                else "The weakest by F1, with its 95\N{NO-BREAK SPACE}% interval, are ",
                [say("{name} {f1}", name=one.name, f1=f1(one)) for one in weakest],
                "mistakes",
            )
        )
    if evaluation.confused:
        found.append(
            listed(
                "Most confused: ",
                [
                    say(
                        (
                            "{true} missed and {predicted} said ({images}, {share} of its class)"
                            if evaluation.several_labels
                            else "{true} taken for {predicted} ({images}, {share} of its class)"
                        ),
                        true=pair.true,
                        predicted=pair.predicted,
                        images=amount(f"confused.{rank}.images", pair.images),
                        share=percent(f"confused.{rank}.share", pair.share),
                    )
                    for rank, pair in enumerate(evaluation.confused[:LISTED])
                ],
                "mistakes",
            )
        )
    if evaluation.mistakes:
        first = evaluation.mistakes[0]
        words = partial(label_words, several=evaluation.several_labels, none="nothing")
        found.append(
            say(
                "Its surest mistake: image {id} is {true}, and it said {predicted} with "
                f"{'a mean probability of ' if evaluation.several_labels else ''}{{probability}}.",
                "mistakes",
                id=first.id,
                true=words(first.true),
                predicted=words(first.predicted),
                probability=percent("mistakes.0.probability", first.probability),
            )
        )
    found += unseen_classes(results)
    return found


def wrong_images(results: Results) -> Sentence:
    """Return how many validation images are wrong, and the mistake that is made most often."""
    evaluation = results.evaluation
    number, confused = evaluation.mistake_count, evaluation.confused
    template = "{wrong} of {total} {are} wrong"
    first = {}
    if confused and confused[0].images > (confused[1].images if len(confused) > 1 else 1):
        template += (
            ", most often with {true} missed and {predicted} said"
            if evaluation.several_labels
            else ", most often {true} taken for {predicted}"
        )
        first = {"true": confused[0].true, "predicted": confused[0].predicted}
    return say(
        template + ".",
        wrong=whole("wrong", number),
        total=amount("images", evaluation.images, "validation image"),
        are="is" if 1 in (number, evaluation.images) else "are",
        **first,
    )


def weakest_classes(results: Results) -> list[ClassResult]:
    """Return the classes with the lowest F1, without those that have no mistake.

    Where a class that is left out has the F1 of a listed one, neither is listed.
    """
    by_class = results.evaluation.by_class
    known = [(one.f1.value, one) for one in by_class if one.images and one.f1.value is not None]
    weak = sorted((pair for pair in known if pair[0] < 1), key=lambda pair: pair[0])
    listed_ones = [one for one in weak[:LISTED] if len(weak) <= LISTED or one[0] < weak[LISTED][0]]
    return [one for _, one in listed_ones or weak[:LISTED]]


def unseen_classes(results: Results) -> list[Sentence]:
    """Return how many classes have no validation image, if there are any."""
    unseen = sum(one.images == 0 for one in results.evaluation.by_class)
    if not unseen:
        return []
    return [
        say(
            "{unseen} of {classes} classes {have} no validation image: nothing is known there.",
            "mistakes",
            unseen=whole("unseen_classes", unseen),
            classes=whole("classes", len(results.evaluation.classes)),
            have="has" if unseen == 1 else "have",
        )
    ]


def can_you_trust_it(results: Results) -> list[Sentence]:
    """Return what speaks for and against the numbers, and the network's own confidence."""
    doubts = few_images(results)
    if results.data_report:
        doubts += overlaps(results.data_report)
    confidence = calibration(results)
    chosen = thresholds(results)
    is_known = results.evaluation.metric_value.low is not None and results.data_report is not None
    if is_known and not doubts and not chosen:
        confidence[0] = say("The result within its interval, yes. {fit}", fit=confidence[0])
    return [
        *doubts,
        *confidence,
        *validation_size(results),
        *chosen,
        *data_findings(results),
        *predicted_shares(results),
        *agreement(results),
        *pretraining(results),
    ]


def few_images(results: Results) -> list[Sentence]:
    """Return that there are too few validation images, if there are."""
    evaluation = results.evaluation
    accuracy = evaluation.accuracy
    width = (accuracy.high or 1) - (accuracy.low or 0)
    if width < WIDE:
        return []
    total = amount("images", evaluation.images, "validation image")
    return [
        say(
            "Hardly: {total} {tell} too little.",
            total=total,
            tell="tells" if evaluation.images == 1 else "tell",
        )
    ]


def calibration(results: Results) -> list[Sentence]:
    """Return whether the network's confidence fits its accuracy."""
    evaluation = results.evaluation
    measured, accuracy = evaluation.calibration, evaluation.accuracy
    confidence, right = measured.mean_confidence, measured.accuracy
    difference = confidence - right
    fits = abs(difference) < CALIBRATED
    may_be_chance = False
    if evaluation.several_labels:
        # Most pairs of an image and a class are no label: a difference is large beside their share.
        fits = abs(difference) < min(CALIBRATED, CALIBRATED_SHARE * right)
    elif accuracy.low is not None and accuracy.high is not None:
        may_be_chance = accuracy.low <= confidence <= accuracy.high
    too = "too high" if difference > 0 else "too low"
    template = "On average, its confidence fits."
    if not fits:
        template = f"Its confidence is {{points}} {too}"
        template += ", which may be chance in so few images." if may_be_chance else "."
    if evaluation.several_labels:
        details = (
            "It gives a class a probability of {confidence} on average, and {right} of the images "
            "have it; within bins of probability, it is off by {ece}"
        )
    else:
        details = (
            "It is {confidence} sure on average, and {right} right; within bins of confidence, it "
            "is off by {ece}"
        )
    smoothed = difference < 0 and not (fits or may_be_chance) and label_smoothing(results)
    return [
        say(template, points=points("calibration.difference", abs(difference))),
        say(
            details + (", as is usual with label smoothing." if smoothed else "."),
            "confidence",
            confidence=percent("calibration.mean_confidence", confidence),
            right=percent("calibration.accuracy", right),
            ece=points("calibration.ece", measured.ece),
        ),
    ]


def label_smoothing(results: Results) -> bool:
    """Return whether the recipe smooths labels."""
    loss = results.run.recipe.get("loss")
    return isinstance(loss, dict) and bool(loss.get("label_smoothing"))


def validation_size(results: Results) -> list[Sentence]:
    """Return what the number of validation images means for the result."""
    evaluation = results.evaluation
    estimate, total = evaluation.metric_value, amount("images", evaluation.images, "image")
    if estimate.value is None:
        return [say("The metric is not defined on these images.")]
    if estimate.low is None or estimate.high is None:
        return [say("{total} do not show how far the result would vary.", total=total)]
    width = estimate.high - estimate.low
    return [
        say(
            "With {total} to validate on, the 95\N{NO-BREAK SPACE}% interval is {width} wide: a "
            "smaller difference between two runs may be chance.",
            total=total,
            width=points("interval_width", width)
            if is_fraction_of_images(evaluation.metric)
            else decimal("interval_width", width, 4),
        )
    ]


def thresholds(results: Results) -> list[Sentence]:
    """Return that thresholds were chosen for these images, if they were."""
    if not results.evaluation.decision.endswith(ON_THESE_IMAGES):
        return []
    return [
        say(
            "Thresholds were chosen on the same validation images, which makes the result a "
            "little too good.",
            "methods",
        )
    ]


def data_findings(results: Results) -> list[Sentence]:
    """Return how much the data check found."""
    if results.data_report is None:
        return [say("The data check’s report could not be read.")]
    count = len(results.data_report["attention"])
    if not count:
        return [
            say(
                "The data check found nothing that needs attention, and no image in both the "
                "training and the validation set.",
                "data",
            )
        ]
    return [
        say(
            "The data check found {count} that {needs} attention.",
            "data",
            count=amount("attention", count, "thing"),
            needs="needs" if count == 1 else "need",
        ),
    ]


def overlaps(report: Report) -> list[Sentence]:
    """Return whether the same images are in two of training, validation and test set."""
    duplicates, found = report["duplicates"], []
    images_in = {tuple(pair["splits"]): pair["images"] for pair in duplicates["pairs"]}
    if both := images_in["train", "valid"]:
        found.append(
            say(
                "{both} of the training and the validation set are the same, pixel for pixel: the "
                "result is too good.",
                "data",
                both=amount("duplicates.train_valid", both),
            )
        )
    if leaked := duplicates["labelled_images_in_test"]:
        found.append(
            say(
                "{leaked} {are} in the test set, too: a test score is too good.",
                "data",
                leaked=amount("duplicates.labelled_in_test", leaked, "labelled image"),
                are="is" if leaked == 1 else "are",
            )
        )
    return found


def predicted_shares(results: Results) -> list[Sentence]:
    """Return how the predicted classes' shares differ from those of the labelled images."""
    predictions = results.predictions
    if predictions is None or not predictions.images:
        return []
    farthest = max(predictions.by_class, key=lambda one: abs(one.share - one.labelled_share))
    return [
        say(
            "The classes’ shares of the test predictions and of the labelled images differ by at "
            "most {difference}: {name}, {share} and {labelled}.",
            "test",
            difference=points("test.farthest", abs(farthest.share - farthest.labelled_share)),
            name=farthest.name,
            share=percent("test.farthest.share", farthest.share),
            labelled=percent("test.farthest.labelled_share", farthest.labelled_share),
        )
    ]


def agreement(results: Results) -> list[Sentence]:
    """Return for how many test images all members predict the same."""
    predictions = results.predictions
    if predictions is None or predictions.agreement is None:
        return []
    return [
        say(
            "All {members} members agree on {agreement} of the test images.",
            "test",
            members=whole("members", predictions.members),
            agreement=percent("test.agreement", predictions.agreement),
        )
    ]


def pretraining(results: Results) -> list[Sentence]:
    """Return that the network starts from weights that may have seen these images, if it does."""
    if results.pretrained is None:
        return []
    return [
        say(
            "It starts from {weights}. If they were trained on some of the validation or test "
            "images, the results are too good.",
            "origin",
            weights=pretrained_weights(results.pretrained),
        )
    ]


def limits(results: Results) -> list[Sentence]:
    """Return what the final model cannot do, or what is not known about it."""
    evaluation, report = results.evaluation, results.data_report
    found = [
        say(
            "It knows images like those that it was trained on, and gives any other image "
            f"{'some or none' if evaluation.several_labels else 'one'} of its {{classes}} classes, "
            "too.",
            classes=whole("classes", len(evaluation.classes)),
        ),
        *validation_size(results),
    ]
    weak = [one for one in weakest_classes(results) if (one.f1.value or 0) < WEAK]
    if weak:
        found.append(
            listed(
                "It is weak at ",
                [
                    say(
                        "{name} (F1 {f1})",
                        name=one.name,
                        f1=decimal(f"class.{one.name}.f1.value", one.f1.value or 0),
                    )
                    for one in weak
                ],
            )
        )
    found += unseen_classes(results)
    if report and (unequal := report["unequal_classes"]):
        largest, smallest = unequal["largest"], unequal["smallest"]
        found.append(
            say(
                "The classes are unequal: {largest} has {most}, {smallest} has {least}.",
                largest=largest["class"],
                most=amount("largest_class", largest["images"]),
                smallest=smallest["class"],
                least=amount("smallest_class", smallest["images"]),
            )
        )
    return [*found, *(overlaps(report) if report else []), *pretraining(results)]


def f1(one: ClassResult) -> Sentence:
    """Return a class's F1 with its interval."""
    name = f"class.{one.name}.f1"
    return with_interval(name, decimal(f"{name}.value", one.f1.value or 0), one.f1)
