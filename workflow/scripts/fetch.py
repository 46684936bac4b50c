"""Rule `fetch`: the dataset's files, generated, downloaded, or the user's own."""

import json
from pathlib import Path

import job
from imagepipe.sources.fetching import fetch


def main(snakemake) -> None:
    dataset = json.loads(snakemake.params.options)
    raw_dir = dataset.pop("raw_dir")
    # These two only make the rule run when the user's files have changed.
    del dataset["braced"], dataset["images"]
    folder = Path(snakemake.output.sums).parent
    # Neither is an output: they stay when the job fails or is forced.
    downloads, record = folder.parent / ".downloads", folder.parent / "first_use.sha256"
    fetch(dataset, Path(raw_dir) if raw_dir else None, folder, downloads, record)


if __name__ == "__main__":
    job.run(main, snakemake)
