# From the final models to the submission, and its score if the true labels are known.


# The recipe keys that prediction reads; the rest comes with the model.
ARITHMETIC = ("precision", "tf32", "deterministic")


rule predict:
    input:
        model=rules.retrain.output.model,
        images=rules.pack.output.test,
        table=rules.pack.output.test_table,
    output:
        logits=f"{FINAL}/test_logits.npz",
    log:
        f"{LOGS}/{{run}}/seed{{seed}}/predict.log",
    benchmark:
        f"{LOGS}/{{run}}/seed{{seed}}/predict.benchmark.tsv"
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


rule submission:
    input:
        **({"sample": TABLES["sample_submission"]} if DATASET.sample_submission else {}),
        logits=expand(f"{FINAL}/test_logits.npz", run=RUN, seed=SEEDS),
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
        options=options(**select(DATASET, "submission", "image_extension")),
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
                labels=select(DATASET.labels, "id_column", "label_column"),
                **select(DATASET, "image_extension"),
            ),
            code=code("score.py"),
        message:
            "Score the submission"
        script:
            "../scripts/score.py"
