"""Rule `curves`: draws the learning curves of a run."""

import json
from pathlib import Path

import job
from imagepipe.evaluation.learning_curves import draw_learning_curves
from imagepipe.training.history import read_history


def main(snakemake) -> None:
    options = json.loads(snakemake.params.options)
    final = map(Path, snakemake.input.final)
    draw_learning_curves(
        read_history(Path(snakemake.input.validated)),
        dict(zip(options["seeds"], map(read_history, final), strict=True)),
        options["run"],
        Path(snakemake.output.learning_curves),
    )


if __name__ == "__main__":
    job.run(main, snakemake)
