"""What is known of the test images' predictions, and its figures."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from scipy.special import expit, softmax

import test_predictions as script
from builders import make_packed, refused
from figure_reading import check_readable, saved_figures, svg_texts
from imagepipe.dataset.packed import PackedFile
from imagepipe.dataset.submission_form import SubmissionForm
from imagepipe.evaluation import evaluation_file
from imagepipe.evaluation.evaluation_file import ClassShare, read_results
from imagepipe.evaluation.test_figures import (
    draw_test_pictures,
    draw_test_predictions,
    shown_classes,
)
from imagepipe.evaluation.test_predictions import summarize_predictions
from imagepipe.metrics.decisions import Thresholds, write_thresholds
from imagepipe.prediction.logits import Predictions, write_predictions
from imagepipe.submission.submission import write_submission

CLASSES = ("cat", "dog", "frog")


def random_member(
    seed: int, images: int = 200, classes: Sequence[str] = CLASSES, *, several: bool = False
) -> Predictions:
    logits = np.random.default_rng(seed).normal(scale=2, size=(images, len(classes)))
    ids = np.array([f"id{i}" for i in range(images)], dtype=np.str_)
    return Predictions(ids, logits.astype(np.float32), np.array(classes), several)


def drawn(
    predictions: evaluation_file.TestPredictions, images: np.ndarray, folder: Path
) -> list[Figure]:
    """Draw both figures of predictions for images uint8 [N, H, W, 3]."""
    np.save(folder / "test.npy", images)
    with saved_figures() as figures:
        draw_test_predictions(predictions, folder / "predictions.svg")
        packed = PackedFile.from_array(folder / "test.npy")
        draw_test_pictures(predictions, packed, folder / "pictures.svg")
    for figure in figures:
        check_readable(figure)
    return figures


def test_every_number_is_that_of_the_mean_of_the_members() -> None:
    members = [random_member(seed) for seed in range(3)]
    labels = ["cat"] * 5 + ["dog"] * 3 + ["frog"] * 2
    summary = summarize_predictions(members, labels)
    each = np.array([softmax(m.logits.astype(np.float64), axis=1) for m in members])
    mean = each.mean(axis=0)
    decided, confidences = mean.argmax(axis=1), mean.max(axis=1)
    assert (summary.images, summary.members, summary.several_labels) == (200, 3, False)
    assert summary.mean_confidence == pytest.approx(confidences.mean())
    own = each.argmax(axis=2)
    same = sum(len(set(column)) == 1 for column in own.T.tolist())
    assert summary.agreement == pytest.approx(same / 200)
    assert 0 < same < 200
    for i, one in enumerate(summary.by_class):
        count = decided.tolist().count(i)
        assert one == ClassShare(CLASSES[i], count, count / 200, (0.5, 0.3, 0.2)[i])
    in_bins = [0] * 20
    for confidence in confidences:
        in_bins[int(confidence * 20)] += 1
    assert summary.confidences == in_bins
    ranked = sorted(range(200), key=lambda row: confidences[row])
    shown, rows = summary.least_sure, ranked[:12]
    assert [one.row for one in shown] == rows
    assert [one.id for one in shown] == [f"id{row}" for row in rows]
    assert [one.predicted for one in shown] == [CLASSES[decided[row]] for row in rows]
    assert [one.probability for one in shown] == pytest.approx(confidences[rows])
    assert {(one.true, one.true_probability) for one in shown} == {(None, None)}


def test_several_labels_are_counted_for_each_class() -> None:
    members = [random_member(seed, 100, several=True) for seed in range(2)]
    labels = ["cat|dog", "dog", "", "frog|dog"]
    summary = summarize_predictions(members, labels)
    each = np.array([expit(m.logits.astype(np.float64)) for m in members])
    mean = each.mean(axis=0)
    decided = mean >= 0.5
    confidences = np.maximum(mean, 1 - mean).mean(axis=1)
    assert summary.several_labels
    assert [one.predicted for one in summary.by_class] == decided.sum(axis=0).tolist()
    assert [one.labelled_share for one in summary.by_class] == [0.25, 0.75, 0.25]
    assert summary.mean_confidence == pytest.approx(confidences.mean())
    same = ((each[0] >= 0.5) == (each[1] >= 0.5)).all(axis=1)
    assert summary.agreement == pytest.approx(same.mean())
    first = summary.least_sure[0]
    assert first.row == confidences.argmin()
    names = [name for name, is_there in zip(CLASSES, decided[first.row], strict=True) if is_there]
    assert first.predicted == "|".join(names)
    assert first.probability == pytest.approx(confidences.min())


@pytest.mark.parametrize("thresholds", [Thresholds(), Thresholds("one", (0.9,), "cat")])
def test_predictions_are_the_submissions(tmp_path: Path, thresholds: Thresholds) -> None:
    members = [random_member(seed) for seed in range(2)]
    ids = members[0].ids.tolist()
    rows = "".join(f"{i},{i}\n" for i in ids)
    (tmp_path / "test.csv").write_text(f"id,submission_id\n{rows}")
    form = SubmissionForm("label", ("id", "label"))
    target = tmp_path / "submission.csv"
    write_submission(members, form, tmp_path / "test.csv", target, thresholds)
    submitted = [line.split(",")[1] for line in target.read_text().splitlines()[1:]]
    summary = summarize_predictions(members, ["cat"], thresholds)
    assert [one.predicted for one in summary.by_class] == [
        submitted.count(name) for name in CLASSES
    ]
    for one in summary.least_sure:
        assert one.predicted == submitted[one.row]
    # The probability of the prediction, not the highest one.
    mean = np.mean([softmax(m.logits.astype(np.float64), axis=1) for m in members], axis=0)
    one = summary.least_sure[0]
    assert one.probability == pytest.approx(mean[one.row, CLASSES.index(one.predicted)])


def test_a_certain_prediction_is_in_the_last_bin_and_one_member_agrees_with_none() -> None:
    logits = np.array([[1000, 0, 0]], dtype=np.float32)
    member = Predictions(np.array(["a"]), logits, np.array(CLASSES))
    summary = summarize_predictions([member], ["cat"])
    assert summary.confidences == [0] * 19 + [1]
    assert summary.agreement is None
    assert summary.mean_confidence == 1


def test_no_test_images_are_a_sentence(tmp_path: Path) -> None:
    members = [random_member(seed, 0) for seed in range(2)]
    summary = summarize_predictions(members, [])
    assert (summary.mean_confidence, summary.agreement, summary.images) == (None, None, 0)
    assert [one.share for one in summary.by_class] == [0, 0, 0]
    drawn(summary, np.zeros((0, 32, 32, 3), np.uint8), tmp_path)
    for name in ("predictions", "pictures"):
        assert "There are no test images." in svg_texts(tmp_path / f"{name}.svg")


def test_the_figures_show_the_numbers(tmp_path: Path) -> None:
    summary = summarize_predictions([random_member(0), random_member(1)], ["cat", "dog"])
    images = np.random.default_rng(0).integers(0, 256, (200, 8, 8, 3), dtype=np.uint8)
    (shares, confidences), pictures = (figure.axes for figure in drawn(summary, images, tmp_path))
    predicted, labelled = (line.get_xydata().tolist() for line in shares.get_lines())
    assert predicted == [[one.share, row] for row, one in enumerate(summary.by_class)]
    assert labelled == [[one.labelled_share, row] for row, one in enumerate(summary.by_class)]
    assert [label.get_text() for label in shares.get_yticklabels()] == list(CLASSES)
    # The marker of a share of 0 is not cut in half.
    assert not any(line.get_clip_on() for line in shares.get_lines())
    assert [bar.get_height() for bar in confidences.patches] == summary.confidences
    assert [bar.get_x() for bar in confidences.patches] == pytest.approx(np.arange(20) / 20)
    shown = svg_texts(tmp_path / "predictions.svg")
    agreement = 100 * (summary.agreement or 0)
    title = f"Confidence: mean {summary.mean_confidence:.3f}; 2 members agree on {agreement:.1f} %"
    assert title in shown
    assert {"predicted", "labelled images"} <= set(shown)
    assert len(pictures) == 12
    for axes, one in zip(pictures, summary.least_sure, strict=True):
        assert np.array_equal(axes.images[0].get_array(), images[one.row])
    shown = svg_texts(tmp_path / "pictures.svg")
    assert "The least sure 12 of 200 test predictions" in shown
    for one in summary.least_sure:
        assert f"{one.predicted}, {100 * one.probability:.0f} %" in shown
        assert one.id in shown


@pytest.mark.parametrize("count", [2, 30, 31, 1000])
def test_of_many_classes_those_that_differ_most_are_shown(tmp_path: Path, count: int) -> None:
    names = [f"<&>$x$ {'long ' * 60}{i}" for i in range(count)]
    member = random_member(0, 40, names)
    labels = [names[i % count] for i in range(2 * count)]
    summary = summarize_predictions([member], labels)
    drawn(summary, np.zeros((40, 60, 24, 3), np.uint8), tmp_path)
    shown = shown_classes(summary.by_class)
    title = "Test predictions by class"
    if count <= 30:
        assert shown == summary.by_class
    else:
        difference = {o.name: abs(o.share - o.labelled_share) for o in summary.by_class}
        assert [difference[o.name] for o in shown] == sorted(difference.values())[:-21:-1]
        title += f": the 20 of {count:,} that differ most"
    assert title in svg_texts(tmp_path / "predictions.svg")


def test_several_labels_are_named_and_none_is_said(tmp_path: Path) -> None:
    logits = np.array([[-9, -9, -9], [9, -9, 9]], dtype=np.float32)
    member = Predictions(np.array(["a", "b"]), logits, np.array(CLASSES), True)
    drawn(summarize_predictions([member], [""]), np.zeros((2, 9, 9, 3), np.uint8), tmp_path)
    texts = svg_texts(tmp_path / "pictures.svg")
    assert {"(no label), 100 %", "cat + frog, 100 %"} <= set(texts)


class Files(dict[str, object]):
    """Inputs or outputs of a rule."""

    __getattr__ = dict.__getitem__


def rule(folder: Path, name: str = "one", **inputs: str) -> object:
    packed = folder / "packed"
    files = {
        "logits": [str(folder / "0.npz"), str(folder / "1.npz")],
        "test": str(packed / "test.npy"),
        "test_table": str(packed / "test.csv"),
        "labelled_table": str(packed / "labelled.csv"),
    }
    outputs = {
        "predictions": folder / name / "test_predictions.json",
        "test_predictions": folder / name / "test_predictions.svg",
        "test_pictures": folder / name / "test_pictures.svg",
    }

    class Rule:
        input = Files(files | inputs)
        output = Files({key: str(path) for key, path in outputs.items()})

    return Rule


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    labelled = [(f"l{i}", CLASSES[i % 3], "train", i) for i in range(6)]
    test = [(f"id{i}", "unknown", "test", 100 + i) for i in range(5)]
    make_packed(tmp_path, [*labelled, *test])
    for seed in range(2):
        write_predictions(tmp_path / f"{seed}.npz", random_member(seed, 5))
    return tmp_path


def test_the_script_writes_what_it_read_and_the_same_bytes_again(folder: Path) -> None:
    for name in ("one", "other"):
        script.main(rule(folder, name))
    expected = summarize_predictions([random_member(seed, 5) for seed in range(2)], CLASSES)
    path = folder / "one/test_predictions.json"
    assert asdict(read_results(path, evaluation_file.TestPredictions)) == asdict(expected)
    written = sorted((folder / "one").iterdir())
    assert [one.name for one in written] == [
        *("test_pictures.png", "test_pictures.svg"),
        *("test_predictions.json", "test_predictions.png", "test_predictions.svg"),
    ]
    assert all(one.read_bytes() == (folder / "other" / one.name).read_bytes() for one in written)


def test_the_script_decides_by_the_thresholds(folder: Path) -> None:
    write_thresholds(folder / "thresholds.json", Thresholds("one", (0.0,), "frog"))
    script.main(rule(folder, thresholds=str(folder / "thresholds.json")))
    written = json.loads((folder / "one/test_predictions.json").read_text())
    assert [one["predicted"] for one in written["by_class"]] == [0, 0, 5]


def test_predictions_of_other_images_are_refused(folder: Path) -> None:
    table = folder / "packed/test.csv"
    table.write_text(table.read_text().replace("id0", "other"))
    with refused(str(table), "other images"):
        script.main(rule(folder))
