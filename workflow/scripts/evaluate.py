"""Rule `evaluate`: results on the validation images, and their figures."""

from pathlib import Path

import job
from imagepipe.dataset.packed import read_packed
from imagepipe.dataset.submission_form import read_metric
from imagepipe.display.figures import save_figure, styled
from imagepipe.evaluation.class_figure import draw_classes
from imagepipe.evaluation.confusion_figure import draw_confusion
from imagepipe.evaluation.evaluation_file import write_results
from imagepipe.evaluation.prediction_pictures import draw_mistakes, draw_unsure_hits
from imagepipe.evaluation.reliability_figure import draw_reliability
from imagepipe.evaluation.validation_results import evaluate, find_rows
from imagepipe.metrics.decisions import NO_THRESHOLDS, read_thresholds
from imagepipe.prediction.logits import read_labelled_predictions


def main(snakemake) -> None:
    predictions, labels = read_labelled_predictions(Path(snakemake.input.valid_logits))
    packed = read_packed(Path(snakemake.input.labelled), Path(snakemake.input.labelled_table))
    thresholds = snakemake.input.get("thresholds")
    evaluation = evaluate(
        predictions,
        labels,
        find_rows(predictions.ids.tolist(), packed.ids),
        read_metric(Path(snakemake.input.metric)),
        read_thresholds(Path(thresholds)) if thresholds else NO_THRESHOLDS,
    )
    write_results(Path(snakemake.output.evaluation), evaluation)
    with styled():
        for figure, target in (
            (draw_confusion(evaluation), snakemake.output.confusion),
            (draw_classes(evaluation), snakemake.output.classes),
            (draw_reliability(evaluation), snakemake.output.reliability),
            (draw_mistakes(evaluation, packed.images), snakemake.output.mistakes),
            (draw_unsure_hits(evaluation, packed.images), snakemake.output.unsure),
        ):
            save_figure(figure, Path(target))


if __name__ == "__main__":
    job.run(main, snakemake)
