"""Rule `saliency`: shows where the network looks in its worst mistakes."""

from pathlib import Path

import torch

import job
from imagepipe.display.figures import save_figure, styled
from imagepipe.evaluation.evaluation_file import Evaluation, read_results
from imagepipe.evaluation.saliency import explain
from imagepipe.evaluation.saliency_figure import choose_explained, draw_saliency


def main(snakemake) -> None:
    torch.set_num_threads(snakemake.threads)
    evaluation = read_results(Path(snakemake.input.evaluation), Evaluation)
    explained = choose_explained(evaluation)
    images, heat, method = explain(
        Path(snakemake.input.model),
        Path(snakemake.input.labelled),
        [one.prediction.row for one in explained],
        [(one.predicted, one.missed) for one in explained],
    )
    with styled():
        figure = draw_saliency(
            explained, images, heat, method, several_labels=evaluation.several_labels
        )
        save_figure(figure, Path(snakemake.output.saliency))


if __name__ == "__main__":
    job.run(main, snakemake)
