"""Rule `augmentation`: shows what augmentation does to some training images."""

from pathlib import Path

import torch

import job
from imagepipe.dataset.packed import read_classes, read_packed, read_split
from imagepipe.display.figures import save_figure, styled
from imagepipe.evaluation.augmentation_examples import augmentation_examples
from imagepipe.evaluation.augmentation_figure import draw_augmentation_examples
from imagepipe.evaluation.evaluation_file import label_words
from imagepipe.training.runs import read_spec, training_data


def main(snakemake) -> None:
    torch.set_num_threads(snakemake.threads)
    spec = read_spec(Path(snakemake.input.settings))
    packed = read_packed(Path(snakemake.input.labelled), Path(snakemake.input.labelled_table))
    splits = read_split(Path(snakemake.input.split), packed.ids)
    classes = read_classes(Path(snakemake.input.classes))
    data = training_data(packed, classes, splits, several_labels=spec.several_labels)
    examples = augmentation_examples(data, spec, packed.labels)
    with styled():
        figure = draw_augmentation_examples(
            examples,
            [label_words(label, several=spec.several_labels) for label in packed.labels],
            spec.recipe,
        )
        save_figure(figure, Path(snakemake.output.augmentation))


if __name__ == "__main__":
    job.run(main, snakemake)
