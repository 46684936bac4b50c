"""Rule `pack`: every image decoded once, into one array of labelled and one of test images."""

import json
from pathlib import Path

from imagepipe.packing import pack
from job import run


def main(snakemake) -> None:
    pack(
        Path(snakemake.input.manifest).parent,
        Path(snakemake.output.labelled).parent,
        json.loads(snakemake.params.options)["image_size"],
        workers=snakemake.threads,
    )


if __name__ == "__main__":
    run(main, snakemake)
