"""Rule `extract`: lists the images in the archives, and unpacks them with `layout: folders`."""

import json
from pathlib import Path

import job
from imagepipe.config.dataset import Contents
from imagepipe.dataset.extraction import extract


def main(snakemake) -> None:
    options = json.loads(snakemake.params.options)
    extract(
        Contents.model_validate(options["contents"]),
        Path(snakemake.input.sums).parent,
        Path(snakemake.output.manifest).parent,
        options["layout"],
        workers=snakemake.threads,
    )


if __name__ == "__main__":
    job.run(main, snakemake)
