"""Rule `compare`: finds duplicate images."""

from pathlib import Path

import job
from imagepipe.checks.duplicates import write_duplicates


def main(snakemake) -> None:
    write_duplicates(Path(snakemake.input.labelled).parent, Path(snakemake.output.duplicates))


if __name__ == "__main__":
    job.run(main, snakemake)
