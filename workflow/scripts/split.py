"""Rule `split`: divides the labelled images into training and validation images."""

import json
from pathlib import Path

from pydantic import TypeAdapter

import job
from imagepipe.config.dataset import Split
from imagepipe.dataset.splitting import write_split


def main(snakemake) -> None:
    options = json.loads(snakemake.params.options)
    write_split(
        Path(snakemake.input.labels),
        Path(snakemake.output.split),
        # A fixed split has neither.
        options.get("valid_ratio", 0.0),
        options.get("split_seed", 0),
        TypeAdapter(Split).validate_python(options["split"]),
        Path(snakemake.input.decoded) if snakemake.input.get("decoded") else None,
        several_labels=options["several_labels"],
    )


if __name__ == "__main__":
    job.run(main, snakemake)
