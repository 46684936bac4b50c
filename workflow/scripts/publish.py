"""Rule `publish`: the submission at the top of the working directory."""

from pathlib import Path

from imagepipe.files import copy_whole
from job import run


def main(snakemake) -> None:
    copy_whole(Path(snakemake.input.submission), Path(snakemake.output.submission))


if __name__ == "__main__":
    run(main, snakemake)
