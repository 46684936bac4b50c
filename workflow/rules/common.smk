# What the rules share: the checked configuration, and the params that decide what reruns.

import re
import shutil
import sys
from datetime import datetime

# Only modules that import neither torch nor pandas: every call, and every job of a cluster, reads
# this file.
from imagepipe.config.configuration import canonical_json, load_configuration
from imagepipe.errors import UserError
from imagepipe.sources.kaggle_command import missing_download_tool
from imagepipe.config.last_words import last_words
from imagepipe.config.openmp import wait_briefly
from imagepipe.config.published import is_of, whose
from imagepipe.config.runs import NOT_OF_A_RUN, validated_runs
from imagepipe.config.source_hash import code_hash
from imagepipe.config.summary import summary

try:
    CONFIGURATION = load_configuration(config, SCRIPTS.parent)
except UserError as error:
    sys.exit(f"error: {error}")

# Scripts read the options on which no result depends, such as `device`, from here.
config.update(CONFIGURATION.settings)

# All jobs take it from the environment.
wait_briefly()

DATASET = CONFIGURATION.dataset
RECIPE = {
    key: value for key, value in CONFIGURATION.recipe.items() if key not in NOT_OF_A_RUN
}
RUN = CONFIGURATION.run_name
MEMBERS = config["members"] or CONFIGURATION.recipe["members"]
SEEDS = [config["seed"] + member for member in range(MEMBERS)]

DATA = f"data/{CONFIGURATION.dataset_name}"
RESULTS = f"results/{CONFIGURATION.dataset_name}"
LOGS = f"logs/{CONFIGURATION.dataset_name}"
# What the submission at the top is made of.
PUBLISHED = {"dataset": CONFIGURATION.dataset_name, "run": RUN, "seeds": SEEDS}
# Of one run and seed. `expand` takes these patterns, and not the outputs of rules: Snakemake refuses
# that where they are kept in an object storage.
VALIDATED = f"{RESULTS}/{{run}}/seed{{seed}}/train"
FINAL = f"{RESULTS}/{{run}}/seed{{seed}}/final"

# More than any machine has: Snakemake scales it down to --cores.
EVERY_CORE = 1024
DATA_THREADS = config["data_threads"] or EVERY_CORE
TRAINING_THREADS = config["training_threads"] or EVERY_CORE

# What a cluster is asked for.
DATA_RESOURCES = {"mem_mb": config["data_mem_mb"], "runtime": config["data_runtime"]}
TRAINING_RESOURCES = {
    "mem_mb": config["training_mem_mb"],
    "runtime": config["training_runtime"],
}
GPUS_PER_NODE = 0 if config["device"] == "cpu" else config["gpus_per_run"]


wildcard_constraints:
    run=re.escape(RUN),
    seed="[0-9]+",


def options(**concerned):
    """The options that concern a rule, as one param.

    Snakemake compares params as a set of values, without their names. Two options that swap
    their values would go unseen if they were two params.
    """
    return canonical_json(concerned)


def select(mapping, *keys):
    """Those items of a mapping that concern a rule."""
    return {key: mapping[key] for key in keys}


def code(script):
    """A hash of a script and of the library modules that it imports, as a param."""
    return code_hash(SCRIPTS / script, SCRIPTS / "imagepipe")


START_FILE = Path(".snakemake") / "imagepipe-start"


def forget_forced_checkpoints():
    """Remove the checkpoints of trainings that the user forces, so that they start anew."""
    settings = workflow.dag_settings
    forced = set(settings.forcerun)
    if settings.forcetargets:
        forced |= set(settings.targets)
    for name, training in (("train", rules.train), ("retrain", rules.retrain)):
        for seed in SEEDS:
            outputs = expand(map(str, training.output), run=RUN, seed=seed)
            if settings.forceall or forced & {name, *outputs}:
                (folder,) = expand(training.params.checkpoint, run=RUN, seed=seed)
                shutil.rmtree(folder, ignore_errors=True)


def remember_start():
    START_FILE.touch()


def refuse_without_download_tool():
    """End the call where `fetch` would fail for want of a program, before any job runs."""
    if any(job.rule.name == "fetch" for job in workflow.dag.needrun_jobs()):
        problem = missing_download_tool(DATASET, RAW_DIR)
        if problem:
            sys.exit(f"error: {problem}")


def summary_lines(seconds=None):
    """The summary of the results; `seconds` is how long this call took to make them."""
    folders = [Path(f"{RESULTS}/{RUN}/seed{seed}") for seed in SEEDS]
    top, called_from = Path("submission.csv"), workflow_terminal.called_from(workflow)
    lines = summary(
        *(DATASET["title"], RUN, Path(RESULTS), folders, top, called_from, seconds),
        is_published=is_of(Path("results/submission.json"), top, PUBLISHED),
    ).splitlines()
    place = workflow.storage_settings.default_storage_prefix
    return lines + (
        [f"  submission      {place.rstrip('/')}/submission.csv"] if place else []
    )


def earlier_submission():
    """A line about the submission at the top, if another call has left it there."""
    top = Path("submission.csv")
    if workflow.storage_settings.default_storage_prefix or not top.is_file():
        return []
    if not any(job.rule.name == "publish" for job in workflow.dag.jobs):
        return []
    if START_FILE.is_file() and top.stat().st_mtime >= START_FILE.stat().st_mtime:
        return []
    return [whose(Path("results/submission.json"), top)]


def print_summary():
    seconds = (datetime.now() - workflow.start_time).total_seconds()
    print(*summary_lines(seconds), sep="\n", file=sys.stderr)


def print_last_words():
    # Otherwise they come when Snakemake has said all that it has to.
    if not LINES_ARE_OURS:
        logs = Path(LOGS).rglob("*.log")
        words = last_words(logs, START_FILE.stat().st_mtime)
        for line in [*earlier_submission(), *words]:
            print(line, file=sys.stderr)
