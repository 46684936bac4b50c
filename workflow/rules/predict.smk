# From the final models to the submission, and its score if the true labels are known.


rule predict:
    input:
        **TEST_EMBEDDINGS,
        model=rules.retrain.output.model,
        images=rules.pack.output.test,
        table=rules.pack.output.test_table,
    output:
        logits=f"{FINAL}/test_logits.npz",
    log:
        f"{LOGS}/{{run}}/seed{{seed}}/predict.log",
    benchmark:
        f"{LOGS}/{{run}}/seed{{seed}}/predict.benchmark.tsv"
    # Before the figures, which need one core each.
    priority: 1
    conda:
        "../../envs/train.yaml"
    threads: THREADS
    resources:
        **TRAINING_RESOURCES,
        gpu=GPU,
        nodes=1,
    params:
        options=options(
            batch_size=config["prediction_batch_size"],
            **select(RECIPE, *ARITHMETIC),
        ),
        code=code("predict.py"),
    message:
        "Classify the test images ({wildcards.run}, seed {wildcards.seed})"
    script:
        "../scripts/predict.py"


THRESHOLDS = {}
if DATASET.needs_thresholds:

    rule thresholds:
        input:
            valid_logits=f"{RESULTS}/{RUN}/seed{config['seed']}/train/valid_logits.npz",
            metric=rules.form.output.metric,
        output:
            thresholds=f"{RESULTS}/{RUN}/thresholds.json",
        log:
            f"{LOGS}/{RUN}/thresholds.log",
        localrule: True
        conda:
            "../../envs/data.yaml"
        params:
            options=options(),
            code=code("thresholds.py"),
        message:
            "Choose thresholds on the validation images"
        script:
            "../scripts/thresholds.py"

    THRESHOLDS["thresholds"] = rules.thresholds.output.thresholds


rule submission:
    input:
        **THRESHOLDS,
        logits=expand(f"{FINAL}/test_logits.npz", run=RUN, seed=SEEDS),
        form=rules.form.output.form,
        test=rules.labels.output.test,
    output:
        submission=report(
            f"{RESULTS}/submission.csv",
            category="Submission",
            caption="../report/submission.rst",
        ),
    log:
        f"{LOGS}/submission.log",
    localrule: True
    conda:
        "../../envs/data.yaml"
    params:
        options=options(),
        code=code("submission.py"),
    message:
        "Write the submission"
    script:
        "../scripts/submission.py"


if DATASET.true_labels:

    rule score:
        input:
            submission=rules.submission.output.submission,
            true_labels=rules.true_labels.output.true_labels,
            form=rules.form.output.form,
            metric=rules.form.output.metric,
        output:
            score=report(
                f"{RESULTS}/score.json",
                category="Submission",
                caption="../report/score.rst",
            ),
        log:
            f"{LOGS}/score.log",
        localrule: True
        conda:
            "../../envs/data.yaml"
        params:
            options=options(
                # The columns of the true labels, where these have the labels' form.
                labels=(
                    DATASET.labels.model_copy(update={"file": DATASET.true_labels})
                    if DATASET.labels.name == "table"
                    else None
                ),
                several_labels=DATASET.several_labels,
                encoding=DATASET.encoding,
            ),
            code=code("score.py"),
        message:
            "Score the submission"
        script:
            "../scripts/score.py"
