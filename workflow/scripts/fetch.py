"""Rule `fetch`: generates or downloads the dataset's files, or links the user's own."""

import json
from pathlib import Path

import job
from imagepipe.config.dataset import Source
from imagepipe.sources.fetching import fetch


def main(snakemake) -> None:
    options = json.loads(snakemake.params.options)
    source = Source.model_validate(options["source"])
    raw_dir = Path(options["raw_dir"]) if options["raw_dir"] else None
    folder = Path(snakemake.output.sums).parent
    # Neither is an output: they stay when the job fails or is forced.
    downloads, record = folder.parent / ".downloads", folder.parent / "first_use.sha256"
    fetch(source, raw_dir, folder, downloads, record)


if __name__ == "__main__":
    job.run(main, snakemake)
