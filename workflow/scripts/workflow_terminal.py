"""The output of a run: a block for each stage on a terminal, a line elsewhere; any errors last.

Snakemake's lines about its own workings go only to its log file, which has all lines.
"""

import contextlib
import logging
import os
import re
import shlex
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from snakemake.settings.enums import Quietness
from snakemake_interface_logger_plugins.common import LogEvent

from imagepipe import terminal_messages
from imagepipe.config.closing_lines import LEFT_TO_PARENT, STOPPED, closing_lines
from imagepipe.config.summary import duration, openable
from rerun_reasons import reason_in_short

if TYPE_CHECKING:
    from terminal_screen import Screen

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
    "Trying to restart job ",
    "Using shell: ",
)
HANDLER = "DefaultStreamHandler"
NOTHING_TO_DO = "Nothing to be done"
# What executors say when they have submitted a job: Snakemake's number and the cluster's.
SUBMITTED = re.compile(r"(?:Job|Submitted (?:group )?job) (\S+) .*jobid '?([^\s']+)")
# Snakemake's messages after a request to stop, and the signal behind each.
ASKED_TO_STOP = {
    "Terminating processes on user request": signal.SIGINT,
    "Will exit after finishing currently running jobs": signal.SIGTERM,
}
# A shell's exit code is this plus the signal's number if a signal ended the command.
ENDED_BY_SIGNAL = 128
CARRIES_ON = "the same command carries on from there"
# Without a terminal, the end of a stage has its own line if the stage took so long.
LONG_STAGE_SECONDS = 10.0


def install(
    workflow: Any, summary: Callable[[], list[str]], before_closing_lines: Callable[[], list[str]]
) -> "Lines | None":
    """Replace Snakemake's terminal output unless the user wants it; return what replaces it.

    `summary` returns the lines to show if there is nothing to do, `before_closing_lines` those to
    show before a failed run's closing lines.
    """
    # A job on another machine may have inherited these variables, but must print its own lines.
    os.environ.pop(LEFT_TO_PARENT, None)
    os.environ.pop(terminal_messages.PIPE, None)
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
        return None
    lines = Lines(workflow, own, summary, before_closing_lines)
    manager.logger.removeHandler(own)
    manager.logger.addHandler(lines)
    # With object storage, this process may lack the logs.
    if not workflow.storage_settings.default_storage_prefix:
        os.environ[LEFT_TO_PARENT] = "1"
    return lines


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
        self.screen: Screen | None = None
        self.new_screen: type[Screen] | None = None
        if (
            own.stream.isatty()
            and os.environ.get("TERM") != "dumb"
            and not {Quietness.RULES, Quietness.PROGRESS}.intersection(self.quiet)
        ):
            # Now, because the scripts' folder is in `sys.path` only while rule files are read.
            self.new_screen = import_module("terminal_screen").Screen
        # The number of stages by rule, once Snakemake has counted them.
        self.stages: dict[str, int] = {}
        # By job: its own number, its rule, and when it began.
        self.numbers: dict[int, int] = {}
        self.begun: dict[int, tuple[str, float]] = {}
        # The jobs of the group that is being submitted.
        self.group: list[int] = []
        self.tables = 0
        # By thread: how a job's command ended, until the thread names the job.
        self.ends: dict[int, str] = {}
        # By job: the lines about its failure to show at the end.
        self.failures: dict[int, list[str]] = {}
        self.stopped_by: signal.Signals | None = None

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self.show([line for text in self.lines(record) for line in text.split("\n")])
        except Exception:
            self.handleError(record)

    def show(self, lines: list[str]) -> None:
        """Show lines that belong to no stage."""
        if self.screen is not None:
            self.screen.show(lines)
        else:
            # A job may have drawn a progress bar on the cursor's line.
            start = "\r\x1b[K" if lines and self.stream.isatty() else ""
            self.stream.write(start + "".join(f"{line}\n" for line in lines))
            self.flush()

    def show_last(self, lines: list[str]) -> None:
        """Show lines after those of all stages."""
        if self.screen is not None:
            self.screen.show([""])
            self.close_screen()
        self.show(lines)

    def open_screen(self) -> "Screen | None":
        """Return the screen on which a terminal shows stages, if the user wants to see them."""
        if self.new_screen is None or self.screen is not None or self.workflow.dryrun:
            return self.screen
        # A debugger needs the terminal for itself.
        if not self.workflow.execution_settings.debug:
            with contextlib.suppress(OSError):
                self.screen = self.new_screen(self.stream, sum(self.stages.values()), self.stages)
        self.new_screen = None
        return self.screen

    def close_screen(self) -> None:
        if self.screen is not None:
            screen, self.screen = self.screen, None
            screen.close()

    def close(self) -> None:
        self.close_screen()
        super().close()

    def lines(self, record: logging.LogRecord) -> Iterator[str]:
        """Yield the lines to show for a log record of Snakemake."""
        event = getattr(record, "event", None)
        if event == LogEvent.JOB_INFO:
            yield from self.stage(record.__dict__)
        elif event == LogEvent.JOB_FINISHED:
            yield from self.end_of_stage(record.__dict__["job_id"])
        elif event == LogEvent.RUN_INFO:
            yield from self.table(record)
        elif event == LogEvent.GROUP_INFO:
            self.group = [job.jobid for job in record.__dict__["jobs"]]
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
        number, rule, text = job["jobid"], job["rule_name"], job["rule_msg"]
        self.failures.pop(number, None)
        # The rule `all` has no message.
        if not text:
            return
        place = self.numbers.setdefault(number, len(self.numbers) + 1)
        self.begun[number] = (rule, time.monotonic())
        line = f"[{rule}] {text}"
        if Quietness.RULES in self.quiet:
            return
        if screen := self.open_screen():
            log = next(iter(map(str, self.logs(number))), "")
            screen.begin(number, rule, text, job["wildcards"], log)
        elif not self.workflow.dryrun:
            yield f"{line} ({place} of {sum(self.stages.values())})"
        elif Quietness.REASON in self.quiet:
            yield line
        else:
            yield f"{line}: {reason_in_short(self.workflow.dag, self.job(number))}"

    def end_of_stage(self, number: int) -> Iterator[str]:
        """Show that a stage is done."""
        rule, begun = self.begun.pop(number, ("", time.monotonic()))
        seconds = time.monotonic() - begun
        if self.screen is not None:
            self.screen.end(number, "done")
        elif seconds >= LONG_STAGE_SECONDS and not self.workflow.dryrun:
            yield f"[{rule}] done in {duration(seconds)}"

    def table(self, record: logging.LogRecord) -> Iterator[str]:
        """Count the stages. In a dry run, where Snakemake logs the table twice, show the second."""
        counts = record.__dict__["stats"]
        self.stages = {rule: n for rule, n in counts.items() if rule not in ("all", "total")}
        self.tables += 1
        if self.workflow.dryrun and self.tables == 2 and Quietness.PROGRESS not in self.quiet:
            yield record.getMessage().strip("\n")

    def message(self, text: str) -> Iterator[str]:
        """Show a line of Snakemake or a plugin, unless it is scaffolding."""
        for beginning, number in ASKED_TO_STOP.items():
            if text.startswith(beginning):
                self.stopped_by = number
        submitted = SUBMITTED.match(text)
        if submitted and self.screen is not None:
            job, submitted_as = submitted.groups()
            jobs = [int(job)] if job.isdecimal() else self.group
            self.screen.note_submission(jobs, submitted_as)
        elif text and not text.startswith(SCAFFOLDING):
            yield text
        if text.startswith(NOTHING_TO_DO) and not self.workflow.dryrun:
            yield from self.summary()

    def error(self, record: logging.LogRecord) -> Iterator[str]:
        """Note how a job's command ended, or show the closing lines of the run, or the error."""
        text = record.getMessage().strip("\n")
        if "CalledProcessError" in text and (end := end_of_command(text)):
            self.ends[threading.get_ident()] = end
        elif "At least one job did not complete successfully" in text:
            self.close_screen()
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
        words = {job["jobid"]: closing_lines(self.logs(job["jobid"])) for job in jobs}
        lines = [line for of_job in words.values() for line in of_job]
        if not lines:
            if end is None:
                # No command on this machine failed: Snakemake's own message may help.
                yield self.own.format(record)
            rules = ", ".join(sorted({job["rule_name"] for job in jobs}))
            (log, *_) = [log for job in jobs for log in job["log"]] or [""]
            lines = [self.without_closing_line(rules, end or "failed", log)]
            words = {}
        self.failures[number] = lines
        is_last = self.is_last(number)
        how = "stopped" if all(line.startswith(STOPPED) for line in lines) else "failed"
        for job in jobs:
            shown = [] if is_last else words.get(job["jobid"], [])
            if self.screen is not None:
                self.screen.end(job["jobid"], how, shown)
            else:
                yield from (f"[{job['rule_name']}] {line}" for line in shown)

    def without_closing_line(self, rule: str, end: str, log: str) -> str:
        """Return the closing line of a job that has left none itself."""
        if end in (signal.SIGINT.name, signal.SIGTERM.name):
            return f"{STOPPED}{end} in {rule}; {CARRIES_ON}"
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
            return [f"{STOPPED}{self.stopped_by.name}; {CARRIES_ON}"]
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
