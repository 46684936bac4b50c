"""Rule `reorganise`: links the images into the book's folders, by split and label."""

import json
from pathlib import Path

import job
from imagepipe.dataset.reorganising import reorganise


def main(snakemake) -> None:
    reorganise(
        Path(snakemake.input.manifest).parent,
        Path(snakemake.input.split),
        Path(snakemake.input.test),
        Path(snakemake.output.manifest).parent,
        json.loads(snakemake.params.options)["link_mode"],
        workers=snakemake.threads,
    )


if __name__ == "__main__":
    job.run(main, snakemake)
