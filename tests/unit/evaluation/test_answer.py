"""The first numbers of the page, and what stands beside them."""

from dataclasses import replace

import pytest

from imagepipe.evaluation.answer import answer
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
