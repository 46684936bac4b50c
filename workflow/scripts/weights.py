"""Rule `weights`: gets the pretrained weights that a recipe asks for."""

import job


def main(snakemake) -> None:
    raise NotImplementedError


if __name__ == "__main__":
    job.run(main, snakemake)
