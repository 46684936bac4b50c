"""Rule `submission`: writes the averaged predictions in the competition's format."""

import json
from pathlib import Path

import job
from imagepipe.config.dataset import Submission
from imagepipe.prediction.logits import read_predictions
from imagepipe.submission.submission import write_submission


def main(snakemake) -> None:
    options = json.loads(snakemake.params.options)
    sample = snakemake.input.get("sample")
    write_submission(
        [read_predictions(Path(path)) for path in snakemake.input.logits],
        Path(sample) if sample else None,
        Submission.model_validate(options["submission"]),
        Path(snakemake.output.submission),
        options["image_extension"],
    )


if __name__ == "__main__":
    job.run(main, snakemake)
