"""Rule `thresholds`: finds the thresholds of predicted classes on the validation images."""

import logging
from pathlib import Path

import job
from imagepipe.config.metric_names import metric_words
from imagepipe.dataset.submission_form import read_metric
from imagepipe.metrics.decisions import write_thresholds
from imagepipe.metrics.metric import compute_metric
from imagepipe.metrics.thresholds import choose_thresholds
from imagepipe.prediction.logits import read_labelled_predictions


def main(snakemake) -> None:
    metric = read_metric(Path(snakemake.input.metric))
    predictions, labels = read_labelled_predictions(Path(snakemake.input.valid_logits))
    of_images = predictions.probabilities(), labels, predictions.classes.tolist()
    thresholds = choose_thresholds(metric, *of_images)
    before, after = (compute_metric(metric, *of_images, *more) for more in ((), (thresholds,)))
    if thresholds.kind != "none" and before is not None and after is not None:
        logging.getLogger(__name__).info(
            "thresholds raise the %s of the validation images, on which they were chosen, "
            "from %.4f to %.4f",
            *(metric_words(metric.name), before, after),
        )
    write_thresholds(Path(snakemake.output.thresholds), thresholds)


if __name__ == "__main__":
    job.run(main, snakemake)
