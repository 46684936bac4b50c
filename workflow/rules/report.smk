# Figures for `snakemake --report report.html`.


localrules:
    plots,


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
    conda:
        "../../envs/data.yaml"
    params:
        options=lambda wildcards: options(
            title="{run}, seed {seed}, {training}".format(**wildcards)
        ),
        code=code("plots.py"),
    script:
        "../scripts/plots.py"


TRAINING_CURVES = expand(
    rules.plots.output.curves, run=RUN, seed=config["seed"], training=["train", "final"]
)
