"""Rule `submission`: writes the averaged predictions in the competition's form."""

from pathlib import Path

import job
from imagepipe.dataset.submission_form import read_submission_form
from imagepipe.metrics.decisions import NO_THRESHOLDS, read_thresholds
from imagepipe.prediction.logits import read_predictions
from imagepipe.submission.submission import write_submission


def main(snakemake) -> None:
    thresholds = snakemake.input.get("thresholds")
    write_submission(
        [read_predictions(Path(path)) for path in snakemake.input.logits],
        read_submission_form(Path(snakemake.input.form)),
        Path(snakemake.input.test),
        Path(snakemake.output.submission),
        read_thresholds(Path(thresholds)) if thresholds else NO_THRESHOLDS,
    )


if __name__ == "__main__":
    job.run(main, snakemake)
