"""Rule `score`: scores the submission, if the true labels are known."""

import json
import logging
from pathlib import Path

import job
from imagepipe.config.dataset import LabelTable
from imagepipe.dataset.submission_form import read_metric, read_submission_form
from imagepipe.submission.scoring import score, score_line, write_score


def main(snakemake) -> None:
    options = json.loads(snakemake.params.options)
    labels = options["labels"]
    result = score(
        Path(snakemake.input.submission),
        Path(snakemake.input.true_labels),
        read_submission_form(Path(snakemake.input.form)),
        read_metric(Path(snakemake.input.metric)),
        LabelTable.model_validate(labels) if labels else None,
        options["encoding"],
        several=options["several_labels"],
    )
    logging.getLogger(__name__).info(score_line(result))
    write_score(Path(snakemake.output.score), result)


if __name__ == "__main__":
    job.run(main, snakemake)
