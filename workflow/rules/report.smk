# What a person looks at: figures, the report, the model card, and the submission's final place.
# `snakemake --report r.zip` shows the figures, too.

# The folder of the validated training, that of the first seed.
VALIDATION = f"{RESULTS}/{{run}}/seed{config['seed']}/train"


rule curves:
    input:
        validated=f"{VALIDATION}/history.csv",
        final=expand(f"{FINAL}/history.csv", seed=SEEDS, allow_missing=True),
    output:
        **figure("learning_curves", "Training", "Learning curves"),
    log:
        f"{LOGS}/{{run}}/curves.log",
    localrule: True
    conda:
        "../../envs/data.yaml"
    params:
        options=lambda wildcards: options(run=wildcards.run, seeds=SEEDS),
        code=code("curves.py"),
    message:
        "Draw the learning curves"
    script:
        "../scripts/curves.py"


rule augmentation:
    input:
        settings=f"{VALIDATION}/run.yaml",
        classes=rules.labels.output.classes,
        labelled=rules.pack.output.labelled,
        labelled_table=rules.pack.output.labelled_table,
        split=rules.split.output.split,
    output:
        **figure("augmentation", "Training", "What augmentation does"),
    log:
        f"{LOGS}/{{run}}/augmentation.log",
    benchmark:
        f"{LOGS}/{{run}}/augmentation.benchmark.tsv"
    conda:
        "../../envs/train.yaml"
    resources:
        **FIGURE_RESOURCES,
    params:
        options=options(),
        code=code("augmentation.py"),
    message:
        "Show what augmentation does"
    script:
        "../scripts/augmentation.py"


rule evaluate:
    input:
        **THRESHOLDS,
        valid_logits=f"{VALIDATION}/valid_logits.npz",
        metric=rules.form.output.metric,
        labelled=rules.pack.output.labelled,
        labelled_table=rules.pack.output.labelled_table,
    output:
        **figure("confusion", "Validation", "Confusion matrix"),
        **figure("classes", "Validation", "Precision, recall and F1 by class"),
        **figure("reliability", "Validation", "Reliability diagram"),
        **figure("mistakes", "Validation", "The surest mistakes"),
        **figure("unsure", "Validation", "The least sure hits"),
        evaluation=f"{RESULTS}/{{run}}/evaluation.json",
    log:
        f"{LOGS}/{{run}}/evaluate.log",
    benchmark:
        f"{LOGS}/{{run}}/evaluate.benchmark.tsv"
    localrule: True
    conda:
        "../../envs/data.yaml"
    params:
        options=options(),
        code=code("evaluate.py"),
    message:
        "Evaluate the predictions of the validation images"
    script:
        "../scripts/evaluate.py"


rule saliency:
    input:
        model=f"{VALIDATION}/model.safetensors",
        evaluation=rules.evaluate.output.evaluation,
        labelled=rules.pack.output.labelled,
    output:
        **figure("saliency", "Validation", "Where the network looks"),
    log:
        f"{LOGS}/{{run}}/saliency.log",
    benchmark:
        f"{LOGS}/{{run}}/saliency.benchmark.tsv"
    conda:
        "../../envs/train.yaml"
    resources:
        **FIGURE_RESOURCES,
    params:
        options=options(),
        code=code("saliency.py"),
    message:
        "Show where the network looks in its worst mistakes"
    script:
        "../scripts/saliency.py"


rule test_predictions:
    input:
        **THRESHOLDS,
        logits=expand(f"{FINAL}/test_logits.npz", seed=SEEDS, allow_missing=True),
        test=rules.pack.output.test,
        test_table=rules.pack.output.test_table,
        labelled_table=rules.pack.output.labelled_table,
    output:
        **figure("test_predictions", "Test", "Predictions for the test images"),
        **figure("test_pictures", "Test", "The least sure test images"),
        predictions=f"{RESULTS}/{{run}}/test_predictions.json",
    log:
        f"{LOGS}/{{run}}/test_predictions.log",
    benchmark:
        f"{LOGS}/{{run}}/test_predictions.benchmark.tsv"
    localrule: True
    conda:
        "../../envs/data.yaml"
    params:
        options=options(),
        code=code("test_predictions.py"),
    message:
        "Summarize the predictions of the test images"
    script:
        "../scripts/test_predictions.py"


# What the report and the model card say of a run.
RESULTS_OF_RUN = {
    "evaluation": f"{RESULTS}/{RUN}/evaluation.json",
    "metrics": f"{VALIDATION.format(run=RUN)}/metrics.json",
    "final_metrics": expand(f"{FINAL}/metrics.json", run=RUN, seed=SEEDS),
    "models": expand(f"{FINAL}/model.safetensors", run=RUN, seed=SEEDS),
    "data_report": rules.check_data.output.report_json,
    "sums": rules.fetch.output.sums,
    **({"score": rules.score.output.score} if DATASET.true_labels else {}),
    **({"record": PRETRAINED["record"]} if PRETRAINED else {}),
    **{
        name: f"{RESULTS}/{RUN}/figures/{name}.svg"
        for name in (
            *("learning_curves", "confusion", "classes"),
            # Frozen features are those of the images as they are.
            *(() if HAS_FROZEN_FEATURES else ("augmentation",)),
            *("reliability", "mistakes", "unsure", "saliency"),
            *("test_predictions", "test_pictures"),
        )
    },
    "class_balance": rules.check_data.output.class_balance,
}
RUN_OPTIONS = {
    "title": DATASET.title,
    "dataset": CONFIGURATION.dataset_name,
    "dataset_file": DATASET.model_dump(),
    "recipe": RECIPE.model_dump(exclude={"members"}),
    "run": RUN,
    "seeds": SEEDS,
}


rule report:
    input:
        **RESULTS_OF_RUN,
        history=f"{VALIDATION.format(run=RUN)}/history.csv",
        settings=f"{VALIDATION.format(run=RUN)}/run.yaml",
        predictions=f"{RESULTS}/{RUN}/test_predictions.json",
        comparison=rules.runs.output.comparison,
        runs=rules.runs.output.table,
        submission=rules.submission.output.submission,
    output:
        **figure("times", "The run", "Time by stage", f"{RESULTS}/figures"),
        **figure("workflow", "The run", "Stages", f"{RESULTS}/figures"),
        report=report(
            f"{RESULTS}/report.html",
            category="The run",
            caption="../scripts/imagepipe/evaluation/captions.report.rst",
            labels={"figure": "The report, one page"},
        ),
    log:
        f"{LOGS}/report.log",
    localrule: True
    conda:
        "../../envs/data.yaml"
    params:
        options=lambda wildcards: options(
            **RUN_OPTIONS,
            graph=stages_before(rules.report.rule),
            logs=f"{PREFIX}{LOGS}",
        ),
        code=code("report.py"),
    message:
        "Write the report"
    script:
        "../scripts/report.py"


rule model_card:
    input:
        **RESULTS_OF_RUN,
    output:
        card=f"{RESULTS}/{RUN}/model_card.md",
    log:
        f"{LOGS}/{RUN}/model_card.log",
    localrule: True
    conda:
        "../../envs/data.yaml"
    params:
        options=lambda wildcards: options(**RUN_OPTIONS),
        code=code("model_card.py"),
    message:
        "Write the model card"
    script:
        "../scripts/model_card.py"


# The main call makes the report, too, not only the submission.
rule publish:
    input:
        rules.report.output.report,
        rules.model_card.output.card,
        # The book's folders are for people; no stage reads them.
        rules.reorganise.output.manifest if config["layout"] == "folders" else [],
        submission=rules.submission.output.submission,
    output:
        submission="submission.csv",
        # Its origin: all datasets and recipes put their submission in this place.
        record="results/submission.json",
    log:
        f"{LOGS}/publish.log",
    localrule: True
    conda:
        "../../envs/data.yaml"
    params:
        options=options(**PUBLISHED),
        code=code("publish.py"),
    message:
        "Put the submission in its place"
    script:
        "../scripts/publish.py"
