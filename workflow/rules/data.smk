# From the source's archives to two arrays of pixels.

from imagepipe.config.dataset import Source
from imagepipe.config.dataset_files import sources_in, state_of_images, table_names

RAW_DIR = Path(config["raw_dir"]).expanduser() if config["raw_dir"] else None
SOURCES = sources_in(RAW_DIR, DATASET) if RAW_DIR else []
# Without the true labels, which only `score` reads.
TABLES = table_names(DATASET)


# On a cluster, `fetch` and the stages that read tables run locally, where there is a network. The
# stages that unpack and decode are one job, the group "data", and form a chain, because Snakemake
# requests the sum of cores and memory of all stages in a group that could run in parallel.


# The folders of images concern only the stages that look for them.
FOLDERS_OF_IMAGES = {"train_folder", "test_folder"}
ORIGIN = DATASET.part(Source).model_dump(
    exclude=set() if DATASET.source == "folder" else FOLDERS_OF_IMAGES
)


rule fetch:
    input:
        # The user's own files are on this machine, even if the workflow's are in object storage.
        [local(str(path)) for path in SOURCES],
    output:
        files=[f"{DATA}/raw/{file.name}" for file in DATASET.files],
        sums=f"{DATA}/raw/SHA256SUMS",
    log:
        f"{LOGS}/fetch.log",
    benchmark:
        f"{LOGS}/fetch.benchmark.tsv"
    localrule: True
    conda:
        "../../envs/data.yaml"
    params:
        # A function, because Snakemake would look for wildcards in a string.
        options=lambda wildcards: options(
            raw_dir=str(RAW_DIR) if RAW_DIR else None,
            images=(
                state_of_images(RAW_DIR, DATASET)
                if RAW_DIR and DATASET.source == "folder"
                else None
            ),
            source=ORIGIN,
        ),
        code=code("fetch.py"),
    message:
        "Get the dataset's files"
    script:
        "../scripts/fetch.py"


# The options that locate tables in the files of a dataset, and those for images.
CONTENTS = select(DATASET, "source", "archive_format") | {
    "files": [{"name": file.name} for file in DATASET.files]
}
if DATASET.archive_format == "cifar_python":
    # Unlike image files, the rows of the Toronto archive do not carry their size.
    CONTENTS["image_size"] = DATASET.image_size
IMAGE_CONTENTS = CONTENTS | select(DATASET, *FOLDERS_OF_IMAGES)
if DATASET.labels.name == "folders":
    IMAGE_CONTENTS |= {"class_folders": True}
if DATASET.archive_format == "pixels":
    IMAGE_CONTENTS |= select(DATASET, "pixels", "image_size", "encoding")


rule extract:
    input:
        files=rules.fetch.output.files,
        sums=rules.fetch.output.sums,
    output:
        images=(
            [directory(f"{DATA}/extracted/{split}") for split in ("train", "test")]
            if config["layout"] == "folders"
            else []
        ),
        manifest=f"{DATA}/extracted/manifest.tsv",
    log:
        f"{LOGS}/extract.log",
    benchmark:
        f"{LOGS}/extract.benchmark.tsv"
    group:
        "data"
    conda:
        "../../envs/data.yaml"
    threads: THREADS
    resources:
        **DATA_RESOURCES,
    params:
        options=options(contents=IMAGE_CONTENTS, layout=config["layout"]),
        code=code("extract.py"),
    message:
        "Unpack the archives"
    script:
        "../scripts/extract.py"


rule tables:
    input:
        files=rules.fetch.output.files,
        sums=rules.fetch.output.sums,
    output:
        [f"{DATA}/extracted/{name}" for name in TABLES],
    log:
        f"{LOGS}/tables.log",
    localrule: True
    conda:
        "../../envs/data.yaml"
    params:
        options=options(tables=TABLES, contents=CONTENTS),
        code=code("tables.py"),
    message:
        "Copy the tables"
    script:
        "../scripts/tables.py"


if DATASET.true_labels:

    # Separate from `tables`, so that new true labels rerun only the score.
    rule true_labels:
        input:
            files=rules.fetch.output.files,
            sums=rules.fetch.output.sums,
        output:
            true_labels=f"{DATA}/true_labels/{DATASET.true_labels}",
        log:
            f"{LOGS}/true_labels.log",
        localrule: True
        conda:
            "../../envs/data.yaml"
        params:
            options=options(tables=[DATASET.true_labels], contents=CONTENTS),
            code=code("tables.py"),
        message:
            "Copy the true labels"
        script:
            "../scripts/tables.py"


rule labels:
    input:
        images=rules.extract.output.images,
        tables=rules.tables.output,
        manifest=rules.extract.output.manifest,
    output:
        labels=f"{DATA}/labels.csv",
        classes=f"{DATA}/classes.txt",
        test=f"{DATA}/test.csv",
        unmatched=f"{DATA}/unmatched.csv",
    log:
        f"{LOGS}/labels.log",
    benchmark:
        f"{LOGS}/labels.benchmark.tsv"
    group:
        "data"
    conda:
        "../../envs/data.yaml"
    resources:
        **DATA_RESOURCES | {"runtime": 10},
    params:
        options=options(
            **select(DATASET, "labels", "test_ids", "sample_submission"),
            **select(DATASET, "encoding"),
            split=DATASET.split if hasattr(DATASET.split, "file") else None,
            on_bad_image=config["on_bad_image"],
        ),
        code=code("labels.py"),
    message:
        "Read and check the labels"
    script:
        "../scripts/labels.py"


# Separate from `labels`, so that another metric does not decode all images again.
rule form:
    input:
        tables=rules.tables.output,
        manifest=rules.extract.output.manifest,
        classes=rules.labels.output.classes,
    output:
        form=f"{DATA}/submission_form.json",
        metric=f"{DATA}/metric.json",
    log:
        f"{LOGS}/form.log",
    # Before anything that takes long: a metric that does not suit the form ends the call.
    priority: 2
    localrule: True
    conda:
        "../../envs/data.yaml"
    params:
        options=options(
            **select(DATASET, "labels", "test_ids", "sample_submission"),
            **select(DATASET, "submission", "metric", "encoding"),
        ),
        code=code("form.py"),
    message:
        "Decide the form of the submission"
    script:
        "../scripts/form.py"


SPLIT = select(DATASET, "split")
if DATASET.split.name != "fixed":
    SPLIT |= {key: config[key] for key in ("valid_ratio", "split_seed")}
FORM = CONFIGURATION.form
PACKED = f"{DATA}/packed/{FORM.name}"
DRAWN_AFTER_PACK = config["on_bad_image"] != "error"


rule split:
    input:
        # Images that cannot be decoded are left out before the draw.
        **({"decoded": f"{PACKED}/decoded.json"} if DRAWN_AFTER_PACK else {}),
        labels=rules.labels.output.labels,
    output:
        # One for each size of packed images, or a recipe of another size would rerun it, and with
        # it the trainings of all others.
        split=f"{PACKED if DRAWN_AFTER_PACK else DATA}/split.csv",
    log:
        f"{LOGS}/split.log",
    localrule: True
    conda:
        "../../envs/data.yaml"
    params:
        options=options(**SPLIT, several_labels=DATASET.several_labels),
        code=code("split.py"),
    message:
        "Draw the validation set"
    script:
        "../scripts/split.py"


if config["layout"] == "folders":

    rule reorganise:
        input:
            images=rules.extract.output.images,
            manifest=rules.extract.output.manifest,
            split=rules.split.output.split,
            test=rules.labels.output.test,
        output:
            trees=[
                directory(f"{DATA}/train_valid_test/{tree}")
                for tree in ("train_valid", "train", "valid", "test")
            ],
            manifest=f"{DATA}/train_valid_test/manifest.tsv",
        log:
            f"{LOGS}/reorganise.log",
        benchmark:
            f"{LOGS}/reorganise.benchmark.tsv"
        conda:
            "../../envs/data.yaml"
        threads: THREADS
        resources:
            **DATA_RESOURCES,
        params:
            options=options(link_mode=config["link_mode"]),
            code=code("reorganise.py"),
        message:
            "Link the images into the book's folders"
        script:
            "../scripts/reorganise.py"


rule pack:
    input:
        **(
            {"images": rules.extract.output.images}
            if config["layout"] == "folders"
            else {"files": rules.fetch.output.files, "sums": rules.fetch.output.sums}
        ),
        manifest=rules.extract.output.manifest,
        labels=rules.labels.output.labels,
        test_ids=rules.labels.output.test,
    output:
        labelled=f"{PACKED}/labelled.npy",
        labelled_table=f"{PACKED}/labelled.csv",
        test=f"{PACKED}/test.npy",
        test_table=f"{PACKED}/test.csv",
        decoded=f"{PACKED}/decoded.json",
        channels=f"{PACKED}/channels.json",
    log:
        f"{LOGS}/pack.log",
    benchmark:
        f"{LOGS}/pack.benchmark.tsv"
    group:
        "data"
    conda:
        "../../envs/data.yaml"
    threads: THREADS
    resources:
        **DATA_RESOURCES,
    params:
        options=options(
            own_size=FORM.own_size,
            size=[FORM.height, FORM.width],
            fit=None if FORM.is_own_size else FORM.fit,
            on_bad_image=config["on_bad_image"],
            layout=config["layout"],
            contents=IMAGE_CONTENTS if config["layout"] == "packed" else None,
        ),
        code=code("pack.py"),
    message:
        "Decode every image once"
    script:
        "../scripts/pack.py"
