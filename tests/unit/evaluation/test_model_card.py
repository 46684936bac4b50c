"""The model card: what programs read, what people read, and text from outside."""

import hashlib
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from imagepipe.config.weights import WeightsRecord
from imagepipe.evaluation.model_card import fenced, write_model_card
from imagepipe.evaluation.report_inputs import Run
from imagepipe.metrics.decisions import Thresholds
from imagepipe.prediction.logits import read_labelled_predictions
from report_builders import Case

TEN = tuple(f"class {letter}" for letter in "abcdefghij")
MakeRun = Callable[..., Any]


def card_of(made: Any, run: Run | None = None, **changed: Any) -> str:
    """Write a run's card to its folder, and return it."""
    figures = made.space.run() / "figures"
    shown = {
        "confusion": figures / "confusion.svg",
        "class_balance": made.space.data / "figures/class_balance.svg",
    }
    inputs = replace(made.inputs, figures=shown)
    target = made.space.run() / "model_card.md"
    write_model_card(replace(inputs, **changed), run or made.run, made.provenance, target)
    return target.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def ten(made_run: MakeRun) -> Any:
    return made_run(Case(TEN, certainty=2.5))


def test_programs_can_read_its_data(ten: Any) -> None:
    data = ModelCard(card_of(ten)).data
    assert data.to_dict()["library_name"] == "imagepipe"
    assert data.pipeline_tag == "image-classification"
    # The user chooses one.
    assert data.license == "unknown"
    predictions, labels = read_labelled_predictions(ten.space.seed() / "train/valid_logits.npz")
    accuracy = float((predictions.probabilities().argmax(axis=1) == labels).mean())
    results = {one.dataset_split: one for one in data.eval_results or ()}
    # The weights beside the card were trained on these images, too.
    validation = results["validation (the same recipe, trained without it)"]
    assert validation.metric_type == "accuracy"
    assert validation.metric_value == accuracy
    assert results["test"].metric_value == 0.81
    assert results["test"].dataset_name == "made for a test"


def test_pretrained_weights_are_named_without_the_users_path(
    ten: Any, tmp_path: Path, record: WeightsRecord
) -> None:
    assert "The terms of the dataset may limit it" in card_of(ten)
    path = tmp_path / "record.json"
    path.write_text(record.model_dump_json())
    model = {"name": "timm", "architecture": "resnet18", "weights": "/home/me/secret/some.pth"}
    run = replace(ten.run, recipe=ten.run.recipe | {"model": model})
    text = card_of(ten, run, record=path)
    assert "secret" not in text
    assert "weights: FILE" in text
    assert "The terms of the dataset and of the pretrained weights may limit it" in text
    assert "- Pretrained: the weights in1k of timm’s resnet18; license: apache-2.0" in text
    assert f"| some.pth | `{64 * 'a'}` |" in text
    limits = text[text.index("## Limits") :]
    assert "If they were trained on some of the validation or test images" in limits
    path.write_text("{}")
    assert "Pretrained" not in card_of(ten, run, record=path)


def test_without_a_score_or_a_metric_there_are_no_such_results(made_run: MakeRun) -> None:
    made = made_run(
        Case(("no", "yes"), metric="roc_auc", train=12, valid=1, has_score=False, test=0)
    )
    text = card_of(made)
    assert not re.search(r"^ *value:", text, flags=re.MULTILINE)
    assert "| ROC AUC, validation | 1 | not defined |" in text


def test_people_find_what_they_need(ten: Any) -> None:
    text = card_of(ten)
    model = "seed0/final/model.safetensors"
    for part in (
        "# Made for a test: small\n",
        "small_cnn",
        "one of 10\N{NO-BREAK SPACE}classes: class a, class b",
        f"imagepipe predict {model} my-images/",
        f'model = imagepipe.load("{model}")',
        "340 labelled images, stored with a height of 32 and a width of 32 pixels",
        "## Limits",
        "With 100\N{NO-BREAK SPACE}images to validate on",
        "![Confusion of classes](figures/confusion.png)",
        f"| {model} | `{hashlib.sha256(ten.inputs.models[0].read_bytes()).hexdigest()}` |",
        f"| train.zip | `{'0' * 64}` |",
        "snakemake --cores all submission.csv --config dataset=made recipe=fast "
        "'override={epochs: 12}'",
        "torch 2.9.0",
        "0123abcd",
        "  name: small_cnn",
    ):
        assert part in text
    assert str(ten.space.folder) not in text
    # What is outside of the card's folder is not published with it.
    assert "class_balance" not in text


def test_the_classes_with_the_lowest_f1_come_first(made_run: MakeRun) -> None:
    names = tuple(f"kind {number}" for number in range(30))
    text = card_of(made_run(Case(names, valid=300, certainty=1.5)))
    table = text.split("The 20 classes with the lowest F1, of 30:")[1].split("##")[0]
    rows = re.findall(r"^\| kind .*$", table, flags=re.MULTILINE)
    assert len(rows) == 20
    scores = [float(row.split("|")[5]) for row in rows]
    assert scores == sorted(scores)
    assert "kind 8, kind 9 and 20 more." in text


def test_limits_tell_what_is_wrong_with_the_data(made_run: MakeRun) -> None:
    made = made_run(Case(TEN, certainty=1, without_valid=2))
    report = made.inputs.data_report.read_text()
    made.inputs.data_report.write_text(
        report.replace('"splits": ["train", "valid"], "groups": 0, "images": 0', "PAIR")
        .replace("PAIR", '"splits": ["train", "valid"], "groups": 3, "images": 6')
        .replace(
            '"unequal_classes": null',
            '"unequal_classes": {"largest": {"class": "class a", "images": 900}, '
            '"smallest": {"class": "class j", "images": 3}}',
        )
    )
    limits = card_of(made).split("## Limits")[1].split("##")[0].replace("\N{NO-BREAK SPACE}", " ")
    for part in (
        "2 of 10 classes have no validation image",
        "It is weak at",
        "class a has 900 images, class j has 3 images",
        "6 images of the training and the validation set are the same",
    ):
        assert part in limits


def test_of_several_members_all_are_named(made_run: MakeRun) -> None:
    text = card_of(made_run(Case(TEN, members=2)))
    models = [f"seed{seed}/final/model.safetensors" for seed in range(2)]
    assert f"imagepipe predict {' '.join(models)} my-images/" in text
    assert f'imagepipe.load("{models[0]}", "{models[1]}")' in text
    assert "averaged" in text


def test_several_labels_and_thresholds_are_explained(made_run: MakeRun) -> None:
    case = Case(TEN[:4], several_labels=True, metric="f1_samples")
    text = card_of(made_run(case, Thresholds("one", (0.3,))))
    assert "any number of 4\N{NO-BREAK SPACE}classes" in text
    assert "found on these images" in text


@pytest.mark.parametrize("name", ["data_report", "sums", "score"])
def test_what_cannot_be_read_is_left_out(name: str, ten: Any, tmp_path: Path) -> None:
    text = card_of(ten, **{name: tmp_path / "none"})
    assert ModelCard(text).data.pipeline_tag == "image-classification"


ODD = (
    "<script>alert(1)</script>",
    "![x](http://127.0.0.1/x.png)",
    "a|b",
    "# heading\n---\n",
    "*strong* `code`",
)


@pytest.mark.parametrize("odd", ODD)
def test_text_from_outside_does_nothing(odd: str, made_run: MakeRun) -> None:
    def made_with(name: str) -> tuple[str, str]:
        made = made_run(Case(TEN[:3]))
        for path in (made.inputs.evaluation, made.inputs.data_report):
            quoted = name.replace("\n", "\\n")
            path.write_text(path.read_text().replace("class a", quoted))
        made.inputs.sums.write_text(f"{'0' * 64}  {name.splitlines()[0]}\n")
        text = card_of(made, replace(made.run, title=name, run="small"))
        return text, text.partition("\n---\n\n")[2]

    (text, markdown), (_, harmless) = made_with(odd), made_with("harmless")
    # The same headings, rows, lists and blocks.
    starts, expected = (
        [line.partition(" ")[0] for line in one.splitlines()] for one in (markdown, harmless)
    )
    assert starts == expected
    assert ModelCard(text).data.eval_results[0].dataset_name == odd
    assert "<script>" not in markdown
    assert "(http:" not in markdown
    assert "*strong*" not in markdown


def test_no_text_closes_a_block_of_code() -> None:
    assert fenced("a\n```\n# b", "yaml") == "````yaml\na\n```\n# b\n````"
