"""Rule `fetch`: the dataset's files, generated, downloaded, or the user's own."""

import json
from pathlib import Path

from imagepipe.fetching import fetch
from job import run


def main(snakemake) -> None:
    dataset = json.loads(snakemake.params.options)
    raw_dir = dataset.pop("raw_dir")
    folder = Path(snakemake.output.sums).parent
    fetch(dataset, Path(raw_dir) if raw_dir else None, folder)


if __name__ == "__main__":
    run(main, snakemake)
