"""The report's sentences, which hold for any numbers."""

from dataclasses import replace

import pytest

from imagepipe.evaluation.answer import answer
from imagepipe.evaluation.evaluation_file import (
    ON_THESE_IMAGES,
    Calibration,
    ConfusedPair,
    Estimate,
    Evaluation,
)
from imagepipe.evaluation.findings import can_you_trust_it, how_good, limits, where_it_fails
from imagepipe.evaluation.report_inputs import Results, Table
from imagepipe.evaluation.sentences import percent
from results_builders import changed, words


def runs_table(*runs: tuple[str, str]) -> Table:
    rows = [{"run": name, "seed": seed, "valid_accuracy": "0.9"} for name, seed in runs]
    return Table(("run", "seed", "valid_accuracy"), rows)


@pytest.mark.parametrize(
    ("runs", "said"),
    [
        ([("small", "0")], "It is the only run on these images so far."),
        ([("small", "0"), ("small", "1")], "It is the best of 2 runs on these images"),
        (
            [("fast@lr=1", "7"), ("small", "1"), ("small", "0")],
            "It is number 3 of 3 runs; the best is fast\\@lr=1, seed 7.",
        ),
        ([("other", "0")], None),
    ],
)
def test_a_run_is_compared_with_the_others(
    runs: list[tuple[str, str]], said: str | None, results: Results
) -> None:
    text = words(how_good(replace(results, runs=runs_table(*runs))))
    assert said in text if said else "run" not in text


def test_runs_on_other_images_or_by_another_metric_do_not_count(results: Results) -> None:
    columns = ("run", "seed", "split", "log_loss")
    own, elsewhere, earlier = (
        dict(zip(columns, row, strict=True))
        for row in (
            ("small", "0", "a", "0.5"),
            ("better", "0", "b", "0.1"),
            ("accuracy-only", "0", "a", ""),
        )
    )
    by_loss = replace(
        changed(results, metric="log_loss"), runs=Table(columns, [elsewhere, own, earlier])
    )
    assert "It is the only run on these images so far." in words(how_good(by_loss))


@pytest.mark.parametrize(
    ("right", "majority", "said"),
    [
        (0.9, 0.5, "right for 50.0 %; the network makes 80.0 % fewer mistakes."),
        (1.0, 0.5, "would be right for 50.0 %."),
        (0.5, 0.5, "right for 50.0 %: the network is no better."),
        (0.2, 0.5, "right for 50.0 %: the network is no better."),
        (1.0, 1.0, "All validation images have the same class"),
    ],
)
def test_a_network_is_compared_with_always_saying_the_same(
    right: float, majority: float, said: str, results: Results
) -> None:
    estimate = Estimate(right, 0.0, 1.0)
    assert said in words(how_good(changed(results, decision_accuracy=estimate, majority=majority)))


def with_calibration(
    results: Results, confidence: float, right: float, interval: tuple[float, float], images: int
) -> str:
    calibration = Calibration(abs(confidence - right), confidence, right, [])
    accuracy = Estimate(right, *interval)
    return words(
        can_you_trust_it(
            changed(results, calibration=calibration, accuracy=accuracy, images=images)
        )
    )


def test_confidence_is_judged_by_the_accuracy(results: Results) -> None:
    tight = (0.895, 0.905)
    assert "On average, its confidence fits." in with_calibration(results, 0.91, 0.9, tight, 9999)
    assert "Its confidence is 8.0 points too high." in with_calibration(
        results, 0.98, 0.9, tight, 9999
    )
    assert "Its confidence is 30.0 points too low." in with_calibration(
        results, 0.6, 0.9, tight, 9999
    )
    # Of several labels, few pairs of an image and a class are one: 1.5 points of 5 % are much.
    several = changed(results, several_labels=True)
    assert "Its confidence is 1.5 points too high." in with_calibration(
        several, 0.065, 0.05, tight, 9999
    )
    assert "On average, its confidence fits." in with_calibration(several, 0.054, 0.05, tight, 9999)
    # It may be chance.
    wide = with_calibration(results, 0.8, 0.9, (0.7, 0.97), 30)
    assert "Its confidence is 10.0 points too low, which may be chance in so few images." in wide
    assert wide.startswith("Hardly: 30 validation images tell too little.")


def test_label_smoothing_explains_only_a_confidence_that_is_too_low(results: Results) -> None:
    smoothed = replace(results, run=replace(results.run, recipe={"loss": {"label_smoothing": 0.2}}))
    tight = (0.895, 0.905)
    assert "label smoothing" in with_calibration(smoothed, 0.6, 0.9, tight, 9999)
    assert "label smoothing" not in with_calibration(smoothed, 0.98, 0.9, tight, 9999)
    plain = replace(results, run=replace(results.run, recipe={}))
    assert "label smoothing" not in with_calibration(plain, 0.6, 0.9, tight, 9999)


def test_images_in_two_sets_come_first(results: Results) -> None:
    report = results.data_report
    assert report is not None
    pairs = [
        pair | ({"groups": 1, "images": 2} if pair["splits"] == ["train", "valid"] else {})
        for pair in report["duplicates"]["pairs"]
    ]
    duplicates = report["duplicates"] | {"pairs": pairs, "labelled_images_in_test": 1}
    leaky = report | {"duplicates": duplicates, "attention": [{"finding": "", "message": ""}] * 2}
    first, second, *others = can_you_trust_it(replace(results, data_report=leaky))
    assert words([first]).startswith("2 images of the training and the validation set are the same")
    assert words([second]).startswith("1 labelled image is in the test set, too")
    assert "The data check found 2 things that need attention." in words(others)


def test_without_a_mistake_it_says_how_many_there_may_be(results: Results) -> None:
    perfect = changed(
        results,
        mistake_count=0,
        mistakes=[],
        confused=[],
        by_class=[replace(one, f1=Estimate(1, 1, 1)) for one in results.evaluation.by_class],
        decision_accuracy=Estimate(1.0, 0.963, 1.0),
    )
    text = words(where_it_fails(perfect))
    assert text == (
        "It makes no mistake on 100 validation images. "
        "Of many more images, up to 3.7 % may be wrong, by the 95 % interval."
    )


def test_one_image_is_one_image(results: Results) -> None:
    alone = changed(results, images=1, mistake_count=1)
    assert "0 of 1 validation image is right." in words(how_good(alone))
    assert "1 of 1 validation image is wrong." in words(where_it_fails(alone))


def test_the_members_agreement_is_told(results: Results) -> None:
    predictions = results.predictions
    assert predictions is not None
    agreed = replace(results, predictions=replace(predictions, members=3, agreement=0.92))
    assert "All 3 members agree on 92.0 % of the test images." in words(can_you_trust_it(agreed))
    assert "agree" not in words(can_you_trust_it(results))


NOTHING = Estimate(None, None, None)


def test_nothing_known_breaks_nothing(results: Results) -> None:
    empty = Evaluation(
        images=1,
        classes=["a", "b"],
        several_labels=False,
        metric="roc_auc",
        metric_value=NOTHING,
        interval_method="none",
        accuracy=NOTHING,
        majority=1.0,
        decision="the likeliest class",
        decision_accuracy=NOTHING,
        mistake_count=0,
        macro_f1=NOTHING,
        macro_f1_method="none",
        by_class=[],
        confusion=None,
        confused=[],
        calibration=Calibration(0.0, 1.0, 1.0, []),
        mistakes=[],
        unsure_hits=[],
    )
    unknown = replace(
        results, evaluation=empty, predictions=None, score=None, runs=None, data_report=None
    )
    for sentences in (how_good(unknown), where_it_fails(unknown), can_you_trust_it(unknown)):
        assert sentences
        assert "None" not in words(sentences)
    shown = answer(unknown)
    assert shown.value is None
    assert "not defined" in words(shown.notes)
    assert shown.test is None


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0.0 %"),
        (1, "100.0 %"),
        (0.95, "95.0 %"),
        (0.9996, "99.96 %"),
        (0.0004, "0.04 %"),
        (0.999999, "over 99.99 %"),
        (0.000001, "under 0.01 %"),
    ],
)
def test_only_all_are_a_hundred_percent(value: float, text: str) -> None:
    assert percent("name", value).text == text.replace(" %", "\N{NO-BREAK SPACE}%")


def test_the_weakest_classes_and_the_surest_mistake_are_named(results: Results) -> None:
    by_class = results.evaluation.by_class
    scores = {"class c": 0.4, "class h": 0.5, "class a": 0.6, "class b": 0.7}
    graded = [
        replace(one, f1=Estimate(scores.get(one.name, 1.0), 0.25, 1.0))
        for one in by_class
        if one.name != "class j"
    ]
    unseen = replace(by_class[-1], images=0, f1=Estimate(None, None, None))
    text = words(where_it_fails(changed(results, by_class=[*graded, unseen])))
    assert (
        "The weakest by F1, with its 95 % interval, are class c 0.40 (0.25 to 1.00), class h 0.50 "
        "(0.25 to 1.00), class a 0.60 (0.25 to 1.00)." in text
    )
    assert "1 of 10 classes has no validation image" in text
    first = results.evaluation.mistakes[0]
    assert f"image {first.id} is {first.true}, and it said {first.predicted} with " in text


def test_a_class_is_not_called_weaker_than_its_equal(results: Results) -> None:
    scores = {"class c": 0.4, "class h": 0.5, "class a": 0.6, "class b": 0.6}
    graded = [
        replace(one, f1=Estimate(scores.get(one.name, 1.0), 0.25, 1.0))
        for one in results.evaluation.by_class
    ]
    text = words(where_it_fails(changed(results, by_class=graded)))
    assert "class c 0.40 (0.25 to 1.00), class h 0.50 (0.25 to 1.00)." in text


def test_the_most_frequent_mistake_is_in_the_headline_if_there_is_one(results: Results) -> None:
    one, other = (ConfusedPair("cat", "dog", images, images / 10) for images in (3, 2))
    for pairs, said in (
        ([one, other], "wrong, most often cat taken for dog."),
        ([one, one], "are wrong."),
        ([replace(one, images=1)], "are wrong."),
    ):
        assert words(where_it_fails(changed(results, confused=pairs))[:1]).endswith(said)


def test_the_result_is_to_be_trusted_within_its_interval_unless_there_are_doubts(
    results: Results,
) -> None:
    start = "The result within its interval, yes. "
    assert words(can_you_trust_it(results)[:1]).startswith(start)
    unknown = changed(results, metric_value=Estimate(0.5, None, None))
    few = changed(results, accuracy=Estimate(0.5, 0.1, 0.9))
    chosen = changed(results, decision=f"a threshold for each class, {ON_THESE_IMAGES}")
    for doubted in (unknown, few, chosen):
        assert start not in words(can_you_trust_it(doubted))
    assert "Thresholds were chosen on the same validation images" in words(can_you_trust_it(chosen))


def test_only_classes_with_a_low_f1_are_called_weak(results: Results) -> None:
    scores = {"class c": 0.79, "class h": 0.8, "class a": 0.9}
    graded = [
        replace(one, f1=Estimate(scores.get(one.name, 1.0), 0.25, 1.0))
        for one in results.evaluation.by_class
    ]
    assert "It is weak at class c (F1 0.79)." in words(limits(changed(results, by_class=graded)))
    fine = [one for one in graded if one.name != "class c"]
    assert "weak" not in words(limits(changed(results, by_class=fine)))
