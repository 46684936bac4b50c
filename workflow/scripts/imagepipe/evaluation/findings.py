"""What the numbers of a run mean, in sentences: how good it is, where it fails, whom to trust.

Each function returns sentences in the order of their weight. They hold for the extremes, too: one
validation image, no mistakes, a metric or an interval that is not defined.
"""

from imagepipe.evaluation.evaluation_file import ClassResult
from imagepipe.evaluation.results import Results, Run, Table
from imagepipe.evaluation.sentences import (
    Sentence,
    amount,
    decimal,
    is_percentage,
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
# A class is weak below this F1.
WEAK = 0.8


def how_good(results: Results) -> list[Sentence]:
    """Return what the validation says about the network's quality."""
    evaluation, found = results.evaluation, []
    accuracy, majority = evaluation.accuracy.value, evaluation.majority
    total = amount("images", evaluation.images, "validation image")
    if accuracy is None:
        found.append(say("The accuracy is not known, as there are no validation images."))
    elif evaluation.several_labels:
        found.append(
            say(
                "For {accuracy} of {total}, every label is right.",
                accuracy=percent("accuracy.value", accuracy),
                total=total,
            )
        )
    else:
        found.append(
            say(
                "{right} of {total} are right." if accuracy != 1 else "All {total} are right.",
                right=whole("right", round(accuracy * evaluation.images)),
                total=total,
            )
        )
    if accuracy is not None and majority is not None:
        found.append(against_majority(accuracy, majority, several=evaluation.several_labels))
    if accuracy is not None:
        found.append(
            say(
                "In its last epoch it got {train} of the training images right, as they came from "
                "the augmentation, and {valid} of the validation images: {gap} {direction}.",
                "learning",
                train=percent("train_accuracy", results.metrics.train_accuracy),
                valid=percent("accuracy.value", accuracy),
                gap=points("gap", abs(results.metrics.train_accuracy - accuracy)),
                direction="fewer" if results.metrics.train_accuracy >= accuracy else "more",
            )
        )
    if evaluation.macro_f1.value is not None:
        found.append(
            say(
                "F1, averaged over the classes, is {f1}.",
                "mistakes",
                f1=with_interval(
                    "macro_f1",
                    decimal("macro_f1.value", evaluation.macro_f1.value),
                    evaluation.macro_f1,
                ),
            )
        )
    if results.runs is not None:
        found += among_runs(results, results.runs)
    return found


def against_majority(accuracy: float, majority: float, *, several: bool) -> Sentence:
    """Return how the network compares with always predicting the same."""
    always = "labels" if several else "class"
    base = percent("majority", majority)
    if majority >= 1:
        return say(f"All validation images have the same {always}; predicting it is no skill.")
    if accuracy <= majority:
        return say(
            f"Always predicting the most frequent {always} would be right for {{base}}: the "
            "network is no better than that.",
            base=base,
        )
    return say(
        f"Always predicting the most frequent {always} would be right for {{base}}; the network "
        "makes {fewer} fewer mistakes than that.",
        base=base,
        fewer=percent("error_reduction", (accuracy - majority) / (1 - majority)),
    )


def among_runs(results: Results, runs: Table) -> list[Sentence]:
    """Return the run's rank among the validated runs, which `runs` lists, the best first."""
    position, number = position_of(results.run, runs), len(runs.rows)
    if position is None:
        return []
    rank, count, best = position + 1, whole("runs", number), runs.rows[0]
    if number == 1:
        return [say("It is the only run of this dataset so far.", "runs")]
    if rank == 1:
        return [
            say(
                "It is the best of {count} runs on these validation images; a result that was "
                "picked as the best tends to be a little too good.",
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
    accuracy = evaluation.accuracy.value
    if accuracy is None:
        return [say("Nothing is known about its mistakes, as there are no validation images.")]
    total = amount("images", evaluation.images, "validation image")
    wrong = evaluation.images - round(accuracy * evaluation.images)
    if wrong:
        found.append(
            say(
                "{wrong} of {total} {is} wrong"
                + (" about some label." if evaluation.several_labels else "."),
                wrong=whole("wrong", wrong),
                total=total,
                **{"is": "is" if wrong == 1 else "are"},
            )
        )
    else:
        found.append(say("It makes no mistake on {total}.", total=total))
        if evaluation.accuracy.low is not None:
            found.append(
                say(
                    "On many more images, up to {most} may be wrong, by the 95 % interval.",
                    most=percent("most_wrong", 1 - evaluation.accuracy.low),
                )
            )
    if weakest := weakest_classes(results):
        found.append(
            listed(
                "The weakest class by F1 is " if len(weakest) == 1 else "The weakest by F1 are ",
                [say("{name} {f1}", name=one.name, f1=f1(one)) for one in weakest],
                "mistakes",
            )
        )
    if evaluation.confused:
        found.append(
            listed(
                "Most often taken for one another: ",
                [
                    say(
                        "{true} for {predicted} ({images}, {share} of its class)",
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
        found.append(
            say(
                "Its surest mistake: image {id} is {true}, and it said {predicted} with "
                "{probability}.",
                "mistakes",
                id=first.id,
                true=first.true or "nothing",
                predicted=first.predicted or "nothing",
                probability=percent("mistakes.0.probability", first.probability),
            )
        )
    found += unseen_classes(results)
    return found


def weakest_classes(results: Results) -> list[ClassResult]:
    """Return the classes with the lowest F1, without those that have no mistake."""
    known = [(one.f1.value, one) for one in results.evaluation.by_class if one.f1.value is not None]
    weak = sorted((pair for pair in known if pair[0] < 1), key=lambda pair: pair[0])
    return [one for _, one in weak[:LISTED]]


def unseen_classes(results: Results) -> list[Sentence]:
    """Return how many classes have no validation image, if there are any."""
    unseen = sum(one.images == 0 for one in results.evaluation.by_class)
    if not unseen:
        return []
    return [
        say(
            "{unseen} of {classes} classes {have} no validation image: nothing is known about "
            "them.",
            "mistakes",
            unseen=whole("unseen_classes", unseen),
            classes=whole("classes", len(results.evaluation.classes)),
            have="has" if unseen == 1 else "have",
        )
    ]


def can_you_trust_it(results: Results) -> list[Sentence]:
    """Return what speaks for and against the numbers, and the network's own confidence."""
    return [
        *calibration(results),
        *validation_size(results),
        *overlaps(results),
        *data_findings(results),
        *predicted_shares(results),
        *agreement(results),
    ]


def calibration(results: Results) -> list[Sentence]:
    """Return whether the network's confidence fits its accuracy."""
    measured = results.evaluation.calibration
    confidence, accuracy, ece = measured.mean_confidence, measured.accuracy, measured.ece
    if confidence is None or accuracy is None:
        return [say("Nothing is known about its confidence, as there are no validation images.")]
    difference = confidence - accuracy
    too_sure = f"too {'sure' if difference > 0 else 'unsure'}"
    if abs(difference) < CALIBRATED:
        template = "Its confidence fits: on average it is {confidence} sure, and {accuracy} right."
    else:
        template = (
            f"It is {{points}} {too_sure}: on average {{confidence}} sure, and {{accuracy}} right."
        )
    found = [
        say(
            template,
            "confidence",
            points=points("calibration.difference", abs(difference)),
            confidence=percent("calibration.mean_confidence", confidence),
            accuracy=percent("calibration.accuracy", accuracy),
        )
    ]
    if ece is not None:
        found.append(
            say(
                "A stated confidence is off by {ece} on average (the expected calibration error)"
                + (
                    "; label smoothing in the training makes networks too unsure."
                    if difference <= -CALIBRATED and label_smoothing(results)
                    else "."
                ),
                "confidence",
                ece=points("calibration.ece", ece),
            )
        )
    return found


def label_smoothing(results: Results) -> bool:
    """Return whether the recipe smooths labels."""
    loss = results.run.recipe.get("loss")
    return isinstance(loss, dict) and bool(loss.get("label_smoothing"))


def validation_size(results: Results) -> list[Sentence]:
    """Return what the number of validation images means for the result."""
    evaluation = results.evaluation
    estimate, count = evaluation.metric_value, evaluation.images
    total = amount("images", count, "validation image")
    if estimate.low is None or estimate.high is None:
        return [say("{total} give no interval; treat the result as a hint.", total=total)]
    width = estimate.high - estimate.low
    shown = (
        points("interval_width", width)
        if is_percentage(evaluation.metric)
        else decimal("interval_width", width, 4)
    )
    return [
        say(
            "On {total}, the 95 % interval is {width} wide: a smaller difference between "
            "two runs may be chance.",
            total=total,
            width=shown,
        )
    ]


def overlaps(results: Results) -> list[Sentence]:
    """Return whether the same images are in the training set and elsewhere."""
    if results.data_report is None:
        return []
    duplicates = results.data_report["duplicates"]
    images_in = {tuple(pair["splits"]): pair["images"] for pair in duplicates["pairs"]}
    found = []
    if both := images_in["train", "valid"]:
        found.append(
            say(
                "{both} of the training and validation sets are the same, pixel for pixel: the "
                "result is too good by what the network knew.",
                "data",
                both=amount("duplicates.train_valid", both),
            )
        )
    else:
        found.append(
            say("No image is in both the training and the validation set, pixel for pixel.", "data")
        )
    if leaked := duplicates["labelled_images_in_test"]:
        found.append(
            say(
                "{leaked} {are} in the test set, too, so that a test score is too good.",
                "data",
                leaked=amount("duplicates.labelled_in_test", leaked, "labelled image"),
                are="is" if leaked == 1 else "are",
            )
        )
    return found


def data_findings(results: Results) -> list[Sentence]:
    """Return how much the data check found."""
    if results.data_report is None:
        return [say("The data check's report could not be read.")]
    count = len(results.data_report["attention"])
    if not count:
        return [say("The data check found nothing that needs attention.", "data")]
    return [
        say(
            "The data check found {count} that {needs} attention.",
            "data",
            count=amount("attention", count, "thing"),
            needs="needs" if count == 1 else "need",
        )
    ]


def predicted_shares(results: Results) -> list[Sentence]:
    """Return how the predicted classes' shares differ from those of the labelled images."""
    predictions = results.predictions
    if predictions is None or not predictions.images or not predictions.by_class:
        return []
    farthest = max(predictions.by_class, key=lambda one: abs(one.share - one.labelled_share))
    return [
        say(
            "{name} is predicted for {share} of the test images, where {labelled} of the labelled "
            "images have it: no class differs more.",
            "test",
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


def limits(results: Results) -> list[Sentence]:
    """Return what the final model cannot do, or what is not known about it."""
    evaluation, report = results.evaluation, results.data_report
    found = [
        say(
            "It knows images like those that it was trained on, and gives any other image one of "
            "its {classes} classes, too, often with high confidence.",
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
    return [*found, *overlaps(results)]


def f1(one: ClassResult) -> Sentence:
    """Return a class's F1 with its interval."""
    name = f"class.{one.name}.f1"
    return with_interval(name, decimal(f"{name}.value", one.f1.value or 0), one.f1)
