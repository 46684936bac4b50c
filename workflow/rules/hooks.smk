# Actions before the first job and after the last.

import shutil
from datetime import datetime

from imagepipe.config.closing_lines import closing_lines
from imagepipe.config.dataset_files import refuse_own_folder
from imagepipe.config.packages import missing_download_tool, missing_tensorboard
from imagepipe.config.published import describe_earlier, is_made_from
from imagepipe.config.summary import summary

# The rules have imported everything they need (see library.smk).
sys.path.remove(str(SCRIPTS))

if RAW_DIR:
    own_folders = [Path(f"{PREFIX}{p}") for p in (DATA, "results", "logs")]
    try:
        refuse_own_folder(RAW_DIR, DATASET, [*own_folders, Path(".snakemake")])
    except UserError as error:
        sys.exit(f"error: {error}")

START_FILE = Path(".snakemake") / "imagepipe-start"
TOP = Path(f"{PREFIX}submission.csv")
RECORD = Path(f"{PREFIX}results/submission.json")


def forget_forced_checkpoints():
    """Remove the checkpoints of trainings that the user forces, so that they start over."""
    settings = workflow.dag_settings
    forced = set(settings.forcerun)
    if settings.forcetargets:
        forced |= set(settings.targets)
    for training in (rules.train, rules.retrain):
        for seed in SEEDS:
            outputs = expand(map(str, training.output), run=RUN, seed=seed)
            if settings.forceall or forced & {training.rule.name, *outputs}:
                (folder,) = expand(training.params.checkpoint, run=RUN, seed=seed)
                shutil.rmtree(folder, ignore_errors=True)


def refuse_without_packages():
    """End the call, before any job runs, if a job would fail for lack of a package."""
    if workflow.deployment_settings.deployment_method:
        return  # the jobs have their own environment
    needed = {job.rule.name for job in workflow.dag.needrun_jobs()}
    problem = None
    if rules.fetch.rule.name in needed:
        problem = missing_download_tool(DATASET, RAW_DIR)
    if config["tensorboard"] and needed & {
        rules.train.rule.name,
        rules.retrain.rule.name,
    }:
        problem = problem or missing_tensorboard()
    if problem:
        sys.exit(f"error: {problem}")


def summary_lines(seconds=None):
    """Return the summary of the results; `seconds` is the duration of this call."""
    results = Path(f"{PREFIX}{RESULTS}")
    folders = [results / RUN / f"seed{seed}" for seed in SEEDS]
    lines = summary(
        *(DATASET.title, RUN, results, folders, TOP),
        *(workflow_terminal.called_from(workflow), seconds),
        is_published=is_made_from(RECORD, TOP, PUBLISHED),
    ).splitlines()
    bucket = workflow.storage_settings.default_storage_prefix
    return lines + ([f"  submission      {bucket.rstrip('/')}/{TOP}"] if bucket else [])


def earlier_submission():
    """Return a line about the submission at the top if an earlier call left it there."""
    if workflow.storage_settings.default_storage_prefix or not TOP.is_file():
        return []
    if not any(job.rule.name == rules.publish.rule.name for job in workflow.dag.jobs):
        return []
    if START_FILE.is_file() and TOP.stat().st_mtime >= START_FILE.stat().st_mtime:
        return []
    return [describe_earlier(RECORD, TOP)]


def print_summary():
    seconds = (datetime.now() - workflow.start_time).total_seconds()
    if TERMINAL:
        TERMINAL.show_last(summary_lines(seconds))
    else:
        print(*summary_lines(seconds), sep="\n", file=sys.stderr)


def print_closing_lines():
    # Otherwise workflow_terminal.py prints them, after all of Snakemake's messages.
    if not TERMINAL:
        logs = Path(f"{PREFIX}{LOGS}").rglob("*.log")
        since = START_FILE.stat().st_mtime if START_FILE.is_file() else 0
        for line in [*earlier_submission(), *closing_lines(logs, since)]:
            print(line, file=sys.stderr)
