# From the pixels to models trained on all labelled images.

from imagepipe.config.runs import validated_runs

TRAINING_OPTIONS = {
    "recipe": RECIPE.model_dump(exclude=set(NOT_OF_A_RUN)),
    **select(DATASET, "mean", "std"),
    "several_labels": DATASET.several_labels,
}
# Measured only where neither the dataset file nor pretrained weights have them.
CHANNELS = (
    {} if DATASET.mean or WEIGHTS_REQUEST else {"channels": rules.pack.output.channels}
)


rule train:
    input:
        **CHANNELS,
        **PRETRAINED,
        **LABELLED_EMBEDDINGS,
        images=rules.pack.output.labelled,
        table=rules.pack.output.labelled_table,
        classes=rules.labels.output.classes,
        metric=rules.form.output.metric,
        split=rules.split.output.split,
        duplicates=rules.compare.output.duplicates,
    output:
        model=f"{VALIDATED}/model.safetensors",
        history=f"{VALIDATED}/history.csv",
        metrics=f"{VALIDATED}/metrics.json",
        settings=f"{VALIDATED}/run.yaml",
        valid_logits=f"{VALIDATED}/valid_logits.npz",
    log:
        f"{LOGS}/{{run}}/seed{{seed}}/train.log",
    benchmark:
        f"{LOGS}/{{run}}/seed{{seed}}/train.benchmark.tsv"
    # Before the training on all images, because validation shows whether a recipe works.
    priority: 1
    conda:
        "../../envs/train.yaml"
    threads: THREADS
    resources:
        **training_resources("train"),
    params:
        options=lambda wildcards: options(seed=int(wildcards.seed), **TRAINING_OPTIONS),
        code=code("train.py"),
        # Not an output, because Snakemake would delete it: the next job resumes from it.
        checkpoint=f"{PREFIX}{RESULTS}/{{run}}/seed{{seed}}/.checkpoint/train",
    message:
        "Train {wildcards.run}, seed {wildcards.seed}, and validate it"
    script:
        "../scripts/train.py"


rule runs:
    input:
        metrics=expand(f"{VALIDATED}/metrics.json", run=RUN, seed=config["seed"]),
        history=expand(f"{VALIDATED}/history.csv", run=RUN, seed=config["seed"]),
        settings=expand(f"{VALIDATED}/run.yaml", run=RUN, seed=config["seed"]),
    output:
        **figure("comparison", "Runs", "All runs", f"{RESULTS}/figures"),
        table=report(
            f"{RESULTS}/runs.csv",
            category="Runs",
            caption="../report/runs.rst",
        ),
    log:
        f"{LOGS}/runs.log",
    localrule: True
    conda:
        "../../envs/data.yaml"
    params:
        # Runs of other calls are not inputs, so that this call does not retrain them.
        options=options(
            runs=sorted(
                {
                    (RUN, config["seed"]),
                    *validated_runs(Path(f"{PREFIX}{RESULTS}")),
                }
            )
        ),
        code=code("runs.py"),
    message:
        "List the runs"
    script:
        "../scripts/runs.py"


use rule train as retrain with:
    input:
        **CHANNELS,
        **PRETRAINED,
        **LABELLED_EMBEDDINGS,
        images=rules.pack.output.labelled,
        table=rules.pack.output.labelled_table,
        classes=rules.labels.output.classes,
        duplicates=rules.compare.output.duplicates,
    output:
        model=f"{FINAL}/model.safetensors",
        history=f"{FINAL}/history.csv",
        metrics=f"{FINAL}/metrics.json",
        settings=f"{FINAL}/run.yaml",
    log:
        f"{LOGS}/{{run}}/seed{{seed}}/retrain.log",
    benchmark:
        f"{LOGS}/{{run}}/seed{{seed}}/retrain.benchmark.tsv"
    priority: 0
    resources:
        **training_resources("retrain"),
    params:
        checkpoint=f"{PREFIX}{RESULTS}/{{run}}/seed{{seed}}/.checkpoint/final",
    message:
        "Train {wildcards.run}, seed {wildcards.seed}, on all labelled images"
