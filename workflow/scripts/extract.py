"""Rule `extract`: the images in the archives, unpacked and listed, or only listed."""

import json
from pathlib import Path

import job
from imagepipe.dataset.extraction import extract


def main(snakemake) -> None:
    dataset = json.loads(snakemake.params.options)
    raw, extracted = Path(snakemake.input.sums).parent, Path(snakemake.output.manifest).parent
    extract(dataset, raw, extracted, dataset["layout"], workers=snakemake.threads)


if __name__ == "__main__":
    job.run(main, snakemake)
