"""Rule `score`: computes the submission's accuracy, if the true labels are known."""

import json
import logging
from pathlib import Path

import job
from imagepipe.submission.scoring import score, write_score


def main(snakemake) -> None:
    options = json.loads(snakemake.params.options)
    result = score(
        Path(snakemake.input.submission),
        Path(snakemake.input.true_labels),
        **options["labels"],
        image_extension=options["image_extension"],
    )
    logging.getLogger(__name__).info("accuracy %.4f on %d images", *result.values())
    write_score(Path(snakemake.output.score), result)


if __name__ == "__main__":
    job.run(main, snakemake)
