"""The terminal output of a run: a line for each stage as it starts, and any errors last.

Snakemake's lines about its own workings go only to its log file, which has all lines.
"""

import logging
import os
import re
import shlex
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

from snakemake.settings.enums import Quietness
from snakemake_interface_logger_plugins.common import LogEvent

from imagepipe.config.closing_lines import LEFT_TO_PARENT, closing_lines
from imagepipe.config.summary import openable
from rerun_reasons import reason_in_short

# Prefixes of lines about Snakemake's own workings.
SCAFFOLDING = (
    "Assuming unrestricted shared filesystem usage",
    "Building DAG of jobs",
    "Complete log(s): ",
    "Config file ",
    "Conda environments: ignored",
    "Elapsed time: ",
    "Exiting because a job execution failed",
    "Group jobs: inactive",
    "Reasons:\n",
    "Removing output files of failed job",
    "Rules with provenance triggered jobs",
    "Select jobs to execute",
    "Shutting down, this might take some time",
    "Singularity containers: ignored",
    "Some jobs were triggered by provenance information",
    "Using shell: ",
)
HANDLER = "DefaultStreamHandler"
NOTHING_TO_DO = "Nothing to be done"
# Snakemake's messages after a request to stop, and the signal behind each.
ASKED_TO_STOP = {
    "Terminating processes on user request": signal.SIGINT,
    "Will exit after finishing currently running jobs": signal.SIGTERM,
}
# A shell's exit code is this plus the signal's number if a signal ended the command.
ENDED_BY_SIGNAL = 128
CARRIES_ON = "the same command carries on from there"


def install(
    workflow: Any, summary: Callable[[], list[str]], before_closing_lines: Callable[[], list[str]]
) -> bool:
    """Replace Snakemake's terminal output unless the user wants it; return whether this was done.

    `summary` returns the lines to show if there is nothing to do, `before_closing_lines` those to
    show before a failed run's closing lines.
    """
    # A job on another machine may have inherited this variable, but must print its closing line.
    os.environ.pop(LEFT_TO_PARENT, None)
    manager = workflow.logger_manager
    settings = manager.settings
    named = (handler for handler in manager.logger.handlers if handler.name == HANDLER)
    own = next(named, None)
    if (
        not isinstance(own, logging.StreamHandler)
        or not workflow.is_main_process
        or settings.log_handler_settings
        or settings.verbose
        or settings.printshellcmds
        or settings.debug_dag
        or settings.show_failed_logs
        or Quietness.ALL in (settings.quiet or ())
    ):
        return False
    manager.logger.removeHandler(own)
    manager.logger.addHandler(Lines(workflow, own, summary, before_closing_lines))
    # With object storage, this process may lack the logs.
    if not workflow.storage_settings.default_storage_prefix:
        os.environ[LEFT_TO_PARENT] = "1"
    return True


def called_from(workflow: Any) -> Path:
    """Return the folder from which the user called Snakemake, whatever --directory says."""
    # There is no public name for it. Without it, paths are relative to the working directory.
    return Path(getattr(workflow, "_rundir", Path.cwd()))


class Lines(logging.StreamHandler[TextIO]):
    """Writes the lines that matter to a user, in place of Snakemake's handler `own`."""

    def __init__(
        self,
        workflow: Any,
        own: logging.StreamHandler[TextIO],
        summary: Callable[[], list[str]],
        before_closing_lines: Callable[[], list[str]],
    ) -> None:
        super().__init__(own.stream)
        self.workflow = workflow
        self.own = own
        self.summary = summary
        self.before_closing_lines = before_closing_lines
        self.quiet = workflow.logger_manager.settings.quiet or ()
        # The number of stages, once Snakemake has counted them, and by job, its own number.
        self.stages = 0
        self.begun: dict[int, int] = {}
        self.tables = 0
        # By thread: how a job's command ended, until the thread names the job.
        self.ends: dict[int, str] = {}
        # By job: the lines about its failure to show at the end.
        self.failures: dict[int, list[str]] = {}
        self.stopped_by: signal.Signals | None = None

    def emit(self, record: logging.LogRecord) -> None:
        try:
            lines = list(self.lines(record))
            # A job may have drawn a progress bar on the cursor's line.
            start = "\r\x1b[K" if lines and self.stream.isatty() else ""
            self.stream.write(start + "".join(f"{line}\n" for line in lines))
            self.flush()
        except Exception:
            self.handleError(record)

    def lines(self, record: logging.LogRecord) -> Iterator[str]:
        """Yield the lines to show for a log record of Snakemake."""
        event = getattr(record, "event", None)
        if event == LogEvent.JOB_INFO:
            yield from self.stage(record.__dict__)
        elif event == LogEvent.RUN_INFO:
            yield from self.table(record)
        elif event == LogEvent.ERROR:
            yield from self.error(record)
        elif event == LogEvent.GROUP_ERROR:
            yield from self.failure(record, record.__dict__["job_error_info"])
        elif event == LogEvent.JOB_ERROR:
            # Jobs of a group are covered by the group's record.
            if not record.__dict__["indent"]:
                yield from self.failure(record, [record.__dict__])
        elif event is None and getattr(record, "quietness", None) not in self.quiet:
            yield from self.message(record.getMessage().strip("\n"))

    def stage(self, job: dict[str, Any]) -> Iterator[str]:
        """Announce the start of a stage or, in a dry run, the reason for it."""
        self.failures.pop(job["jobid"], None)
        # The rule `all` has no message.
        if not job["rule_msg"]:
            return
        number = self.begun.setdefault(job["jobid"], len(self.begun) + 1)
        line = f"[{job['rule_name']}] {job['rule_msg']}"
        if Quietness.RULES in self.quiet:
            return
        if not self.workflow.dryrun:
            yield f"{line} ({number} of {self.stages})"
        elif Quietness.REASON in self.quiet:
            yield line
        else:
            yield f"{line}: {reason_in_short(self.workflow.dag, self.job(job['jobid']))}"

    def table(self, record: logging.LogRecord) -> Iterator[str]:
        """Count the stages. In a dry run, where Snakemake logs the table twice, show the second."""
        counts = record.__dict__["stats"]
        self.stages = counts["total"] - counts.get("all", 0)
        self.tables += 1
        if self.workflow.dryrun and self.tables == 2 and Quietness.PROGRESS not in self.quiet:
            yield record.getMessage().strip("\n")

    def message(self, text: str) -> Iterator[str]:
        """Show a line of Snakemake or a plugin, unless it is scaffolding."""
        for beginning, number in ASKED_TO_STOP.items():
            if text.startswith(beginning):
                self.stopped_by = number
        if text and not text.startswith(SCAFFOLDING):
            yield text
        if text.startswith(NOTHING_TO_DO) and not self.workflow.dryrun:
            yield from self.summary()

    def error(self, record: logging.LogRecord) -> Iterator[str]:
        """Note how a job's command ended, or show the closing lines of the run, or the error."""
        text = record.getMessage().strip("\n")
        if "CalledProcessError" in text and (end := end_of_command(text)):
            self.ends[threading.get_ident()] = end
        elif "At least one job did not complete successfully" in text:
            yield from self.before_closing_lines()
            yield from self.closing_lines() or [text]
        elif record.__dict__.get("exception") == "LockException":
            yield (
                "error: this folder is locked: another snakemake works in it, or was killed in "
                f"it; if none is running: {unlock_command(sys.argv)}"
            )
        else:
            yield text

    def failure(self, record: logging.LogRecord, jobs: list[dict[str, Any]]) -> Iterator[str]:
        """Note the closing lines of a failed job, or a failed group, for the end of the run."""
        number = jobs[0]["jobid"]
        end = self.ends.pop(threading.get_ident(), None)
        words = [
            (job["rule_name"], line)
            for job in jobs
            for line in closing_lines(self.logs(job["jobid"]))
        ]
        if words:
            self.failures[number] = [line for _, line in words]
            if not self.is_last(number):
                yield from (f"[{rule}] {line}" for rule, line in words)
            return
        if end is None:
            # No command on this machine failed: Snakemake's own message may help.
            yield self.own.format(record)
        rules = ", ".join(sorted({job["rule_name"] for job in jobs}))
        (log, *_) = [log for job in jobs for log in job["log"]] or [""]
        self.failures[number] = [self.without_closing_line(rules, end or "failed", log)]

    def without_closing_line(self, rule: str, end: str, log: str) -> str:
        """Return the closing line of a job that has left none itself."""
        if end in (signal.SIGINT.name, signal.SIGTERM.name):
            return f"stopped by {end} in {rule}; {CARRIES_ON}"
        if end == signal.SIGKILL.name:
            end = f"was ended by {end}, as when the memory is full"
        elif end.startswith("SIG"):
            end = f"was ended by {end}"
        if Path(log).exists():
            log = openable(Path(log), called_from(self.workflow))
        return f"error: {rule} {end}; see {log}"

    def closing_lines(self) -> list[str]:
        """Return the closing lines: those of all failures, without repeats, or a stop signal's."""
        words = dict.fromkeys(line for lines in self.failures.values() for line in lines)
        if not words and self.stopped_by is not None:
            return [f"stopped by {self.stopped_by.name}; {CARRIES_ON}"]
        return list(words)

    def is_last(self, number: int) -> bool:
        """Return whether the failure of this job ends the run."""
        job = self.job(number)
        return (
            len(self.workflow.scheduler.running) <= 1
            and not self.workflow.execution_settings.keep_going
            and job.attempt > job.restart_times
        )

    def logs(self, number: int) -> list[Path]:
        """Return the paths of a job's logs."""
        return [Path(str(log)) for log in self.job(number).log]

    def job(self, number: int) -> Any:
        return next(job for job in self.workflow.dag.jobs if job.jobid == number)


def end_of_command(text: str) -> str | None:
    """Return how a command ended, from Python's message: a signal's name, or a few words."""
    if by_signal := re.search(r"died with <Signals\.(\w+)", text):
        return by_signal[1]
    if not (exit_code := re.search(r"returned non-zero exit status (\d+)", text)):
        return None
    code = int(exit_code[1])
    if code - ENDED_BY_SIGNAL in set(signal.Signals):
        return signal.Signals(code - ENDED_BY_SIGNAL).name
    return f"ended with exit code {code}"


def unlock_command(call: list[str]) -> str:
    """Return the command that unlocks the folder of a snakemake call."""
    program, *arguments = call
    if Path(program).name == "__main__.py":
        start = [sys.executable, "-m", "snakemake"]
    elif shutil.which("snakemake") == program:
        start = ["snakemake"]
    else:
        start = [program]
    return shlex.join([*start, "--unlock", *arguments])
