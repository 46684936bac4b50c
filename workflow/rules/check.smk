# Checks of the data before training.


# Trainings read this file, not the report, to refuse images of the test set: a change of the
# report's wording then retrains nothing. Making the report an `ancient` input would not work: if
# the rule of such an input must run, Snakemake 9 skips its dependents, even stale or missing ones.
rule compare:
    input:
        labelled=rules.pack.output.labelled,
        labelled_table=rules.pack.output.labelled_table,
        test=rules.pack.output.test,
        test_table=rules.pack.output.test_table,
    output:
        duplicates=f"{PACKED}/duplicates.json",
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
        "Find duplicate images"
    script:
        "../scripts/compare.py"


rule check_data:
    input:
        labelled=rules.pack.output.labelled,
        labelled_table=rules.pack.output.labelled_table,
        test=rules.pack.output.test,
        test_table=rules.pack.output.test_table,
        decoded=rules.pack.output.decoded,
        channels=rules.pack.output.channels,
        duplicates=rules.compare.output.duplicates,
        split=rules.split.output.split,
        classes=rules.labels.output.classes,
        unmatched=rules.labels.output.unmatched,
    output:
        **figure("class_balance", "Data", "Class balance", f"{DATA}/figures"),
        report_json=f"{DATA}/report.json",
        report_md=f"{DATA}/report.md",
        # `snakemake --report` shows this page; it would only offer the other two for download.
        report_html=report(
            f"{DATA}/report.html",
            category="Data",
            caption="../report/data.rst",
        ),
    log:
        f"{LOGS}/check_data.log",
    benchmark:
        f"{LOGS}/check_data.benchmark.tsv"
    # Before the trainings, so that the report exists when they refuse the data.
    priority: 2
    # Local: it reads the arrays only once, and its input `split` is drawn locally, too.
    localrule: True
    conda:
        "../../envs/data.yaml"
    params:
        options=options(
            **select(DATASET, "mean", "std"),
            several_labels=DATASET.several_labels,
        ),
        code=code("check_data.py"),
    message:
        "Check the data"
    script:
        "../scripts/check_data.py"
