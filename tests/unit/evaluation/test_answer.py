"""The first numbers of the page, and what stands beside them."""

from dataclasses import replace

import pytest

from imagepipe.config.weights import WeightsRecord
from imagepipe.evaluation.answer import answer, facts
from imagepipe.evaluation.evaluation_file import Estimate
from imagepipe.evaluation.report_inputs import Results, Score
from results_builders import changed, words


@pytest.mark.parametrize(
    ("metric", "ends", "better"),
    [
        ("accuracy", ("0 %", "100 %"), None),
        ("top_2_error", ("0 %", "100 %"), "Lower"),
        ("roc_auc", ("0", "1"), "Higher"),
        ("mean_column_roc_auc", ("0", "1"), "Higher"),
        ("f1_macro", ("0", "1"), "Higher"),
        ("map_at_5", ("0", "1"), "Higher"),
        ("log_loss", None, "Lower"),
    ],
)
def test_a_metric_is_shown_on_its_scale_if_it_has_one(
    metric: str, ends: tuple[str, str] | None, better: str | None, results: Results
) -> None:
    shown = answer(changed(results, metric=metric, metric_value=Estimate(0.85, 0.8, 0.9)))
    assert shown.has_scale == (ends is not None)
    assert ends in (None, shown.ends)
    # Only the accuracy can be compared with that of always saying the same.
    assert shown.base == (results.evaluation.majority if metric == "accuracy" else None)
    notes = words(shown.notes)
    assert (f"{better} is better." in notes) if better else ("is better" not in notes)
    assert ("The accuracy is " in notes) == (metric != "accuracy")


def test_the_result_of_one_of_several_members_is_called_so(results: Results) -> None:
    said = "This is the result of one member; the submission averages 2."
    two = replace(results, run=replace(results.run, seeds=[0, 1]))
    assert said in words(answer(two).notes)
    assert "member" not in words(answer(results).notes)


@pytest.mark.parametrize(
    ("metric", "value", "said"),
    [
        ("accuracy", 0.99, "That is better than the validation, by more than chance"),
        ("accuracy", 0.5, "That is worse than the validation, by more than chance"),
        ("accuracy", 0.85, "That agrees with the validation"),
        # Its own interval begins at 0.889.
        ("accuracy", 0.916, "That agrees with the validation"),
        ("top_2_error", 0.99, "That is worse than the validation, by more than chance"),
        ("top_2_error", 0.5, "That is better than the validation, by more than chance"),
        ("log_loss", 0.95, "That is outside the validation’s interval."),
        ("log_loss", 0.5, "That is outside the validation’s interval."),
        ("log_loss", 0.85, "That is inside the validation’s interval."),
    ],
)
def test_the_score_is_compared_with_the_interval(
    metric: str, value: float, said: str, results: Results
) -> None:
    validated = changed(results, metric=metric, metric_value=Estimate(0.85, 0.8, 0.9))
    scored = replace(validated, score=Score(metric, value, 0.7, 500))
    notes = words(answer(scored).test_notes)
    assert said in notes
    assert ("The accuracy is 70.0 %." in notes) == (metric != "accuracy")
    assert ("confidence interval" in notes) == (metric != "log_loss")


def test_the_score_is_that_of_the_final_models_with_its_interval(results: Results) -> None:
    scored = replace(results, score=Score("accuracy", 0.8, 0.8, 100))
    shown = answer(scored)
    assert shown.test_low is not None and shown.test_high is not None
    # By Wilson's method, as SciPy computes it.
    assert shown.test_low.value == pytest.approx(0.7112, abs=1e-4)
    assert shown.test_high.value == pytest.approx(0.8666, abs=1e-4)
    said = "by the final model, which was trained on all labelled images."
    assert said in words(shown.test_notes)
    two = replace(scored, run=replace(results.run, seeds=[0, 1]))
    said = "by the final models, which were trained on all labelled images."
    assert said in words(answer(two).test_notes)
    loss = answer(replace(results, score=Score("log_loss", 0.8, 0.8, 100)))
    assert (loss.test_low, loss.test_high) == (None, None)


ON_FEATURES = {"name": "linear", "on": {"name": "timm", "architecture": "resnet18"}}


def test_pretrained_weights_are_told_with_their_license(
    results: Results, record: WeightsRecord
) -> None:
    assert "Pretrained" not in dict(facts(results, [], []))
    shown = replace(
        results, pretrained=record, run=replace(results.run, recipe={"model": ON_FEATURES})
    )
    told = dict(facts(shown, [], []))
    assert told["Network"].markdown() == "linear on timm resnet18"
    assert words([told["Pretrained"]]) == (
        "the weights in1k of timm’s resnet18; license: apache-2.0"
    )
    unknown = record.model_copy(update={"license": None, "pretrained_on": None})
    told = dict(facts(replace(shown, pretrained=unknown), [], []))
    assert words([told["Pretrained"]]) == (
        "weights of timm’s resnet18 from the file some.pth; their license is not known here"
    )
