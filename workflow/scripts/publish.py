"""Rule `publish`: the submission at the top of the working directory, and whose it is."""

import json
from pathlib import Path

from imagepipe.files import copy_whole
from imagepipe.published import write_record
from job import run


def main(snakemake) -> None:
    submission = Path(snakemake.output.submission)
    copy_whole(Path(snakemake.input.submission), submission)
    write_record(Path(snakemake.output.record), submission, json.loads(snakemake.params.options))


if __name__ == "__main__":
    run(main, snakemake)
