"""Rule `split`: divides the labelled images into training and validation images."""

import json
from pathlib import Path

import job
from imagepipe.dataset.splitting import write_split


def main(snakemake) -> None:
    options = json.loads(snakemake.params.options)
    write_split(
        Path(snakemake.input.labels),
        Path(snakemake.output.split),
        options["valid_ratio"],
        options["split_seed"],
    )


if __name__ == "__main__":
    job.run(main, snakemake)
