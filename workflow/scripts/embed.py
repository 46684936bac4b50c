"""Rule `embed`: computes a frozen network's features of all images."""

import job


def main(snakemake) -> None:
    raise NotImplementedError


if __name__ == "__main__":
    job.run(main, snakemake)
