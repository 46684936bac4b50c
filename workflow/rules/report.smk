# Figures for `snakemake --report report.html`, and the submission's final place.


rule plots:
    input:
        history=f"{RESULTS}/{{run}}/seed{{seed}}/{{training}}/history.csv",
    output:
        curves=report(
            f"{RESULTS}/{{run}}/seed{{seed}}/{{training}}/curves.svg",
            category="Training",
            caption="../report/curves.rst",
            labels={"run": "{run}", "seed": "{seed}", "training": "{training}"},
        ),
    log:
        f"{LOGS}/{{run}}/seed{{seed}}/plots-{{training}}.log",
    wildcard_constraints:
        training="train|final",
    localrule: True
    conda:
        "../../envs/data.yaml"
    params:
        options=lambda wildcards: options(
            title="{run}, seed {seed}, {training}".format(**wildcards)
        ),
        code=code("plots.py"),
    message:
        "Draw the curves ({wildcards.run}, seed {wildcards.seed}, {wildcards.training})"
    script:
        "../scripts/plots.py"


# The main call makes everything in the report, not only the submission.
rule publish:
    input:
        rules.score.output.score if DATASET.true_labels else [],
        expand(
            f"{RESULTS}/{{run}}/seed{{seed}}/{{training}}/curves.svg",
            run=RUN,
            seed=config["seed"],
            training=["train", "final"],
        ),
        rules.check_data.output,
        rules.runs.output,
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
