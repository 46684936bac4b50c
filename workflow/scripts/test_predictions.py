"""Rule `test_predictions`: sums up and draws the predictions for the test images."""

from pathlib import Path

import job
from imagepipe.dataset.packed import PackedFile
from imagepipe.evaluation.evaluation_file import write_results
from imagepipe.evaluation.test_figures import draw_test_pictures, draw_test_predictions
from imagepipe.evaluation.test_predictions import check_ids, summarize_predictions
from imagepipe.files import read_rows
from imagepipe.metrics.decisions import NO_THRESHOLDS, read_thresholds
from imagepipe.prediction.logits import read_predictions


def main(snakemake) -> None:
    members = [read_predictions(Path(path)) for path in snakemake.input.logits]
    table = Path(snakemake.input.test_table)
    check_ids(members[0], table)
    labels = [label for _, (label,) in read_rows(Path(snakemake.input.labelled_table), ("label",))]
    thresholds = snakemake.input.get("thresholds")
    predictions = summarize_predictions(
        members, labels, read_thresholds(Path(thresholds)) if thresholds else NO_THRESHOLDS
    )
    write_results(Path(snakemake.output.predictions), predictions)
    draw_test_predictions(predictions, Path(snakemake.output.test_predictions))
    images = PackedFile.from_array(Path(snakemake.input.test))
    draw_test_pictures(predictions, images, Path(snakemake.output.test_pictures))


if __name__ == "__main__":
    job.run(main, snakemake)
