"""Rule `publish`: copies the submission to the top of the working directory, with its origin."""

import json
from pathlib import Path

import job
from imagepipe.config.published import write_record
from imagepipe.files import atomic_copy


def main(snakemake) -> None:
    submission = Path(snakemake.output.submission)
    atomic_copy(Path(snakemake.input.submission), submission)
    write_record(Path(snakemake.output.record), submission, json.loads(snakemake.params.options))


if __name__ == "__main__":
    job.run(main, snakemake)
