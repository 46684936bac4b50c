# A look at the data before training.


# A training refuses images of the test set by this file, not by the report, so that a report in
# other words trains nothing again. The report as an `ancient` input would not do: where the rule of
# such an input has to run, Snakemake 9 overlooks what follows it, even if it is stale or missing.
rule compare:
    input:
        labelled=rules.pack.output.labelled,
        labelled_table=rules.pack.output.labelled_table,
        test=rules.pack.output.test,
        test_table=rules.pack.output.test_table,
    output:
        duplicates=f"{DATA}/duplicates.json",
    log:
        f"{LOGS}/compare.log",
    benchmark:
        f"{LOGS}/compare.benchmark.tsv"
    group:
        "data"
    conda:
        "../../envs/data.yaml"
    resources:
        **DATA_RESOURCES,
    params:
        options=options(),
        code=code("compare.py"),
    message:
        "Find images that are the same"
    script:
        "../scripts/compare.py"


rule check_data:
    input:
        labelled=rules.pack.output.labelled,
        labelled_table=rules.pack.output.labelled_table,
        test=rules.pack.output.test,
        test_table=rules.pack.output.test_table,
        decoded=rules.pack.output.decoded,
        duplicates=rules.compare.output.duplicates,
        split=rules.split.output.split,
        classes=rules.labels.output.classes,
        unmatched=rules.labels.output.unmatched,
    output:
        report_json=f"{DATA}/report.json",
        report_md=f"{DATA}/report.md",
        # A page that `snakemake --report` shows; the other two it would only offer for download.
        report_html=report(
            f"{DATA}/report.html",
            category="Data",
            caption="../report/data.rst",
        ),
    log:
        f"{LOGS}/check_data.log",
    benchmark:
        f"{LOGS}/check_data.benchmark.tsv"
    # Ahead of the trainings: it is there to be read when they refuse the data.
    priority: 2
    # It reads the arrays once, and waits for the split, which is drawn where Snakemake runs.
    localrule: True
    conda:
        "../../envs/data.yaml"
    params:
        options=options(**select(DATASET, "mean", "std")),
        code=code("check_data.py"),
    message:
        "Look at the data"
    script:
        "../scripts/check_data.py"
