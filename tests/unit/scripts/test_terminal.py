"""What the terminal shows of Snakemake's log records."""

import io
import logging
import os
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from snakemake.settings.enums import Quietness
from snakemake_interface_logger_plugins.common import LogEvent

import workflow_terminal as terminal
from imagepipe.config.closing_lines import LEFT_TO_PARENT

SETTINGS: dict[str, Any] = {
    "verbose": False,
    "printshellcmds": False,
    "debug_dag": False,
    "show_failed_logs": False,
    "quiet": None,
    "log_handler_settings": {},
}
COMMAND = "CalledProcessError in file train.smk, line 51:\nCommand 'python train.py'"
# What clears the cursor's line.
CLEARED = "\r\x1b[K"
FINAL = "WorkflowError:\nAt least one job did not complete successfully."


class Terminal(io.StringIO):
    """Takes itself for a terminal."""

    def isatty(self) -> bool:
        return True


@dataclass
class Run:
    """Stands for a call of Snakemake: its logger, and what it knows of jobs 1 (train) and 2."""

    folder: Path
    settings: dict[str, Any]
    main_process: bool = True
    storage: str | None = None
    stream: io.StringIO = field(default_factory=io.StringIO)

    def __post_init__(self) -> None:
        self.logger = logging.Logger("a test's", logging.INFO)
        own = logging.StreamHandler(self.stream)
        own.name = terminal.HANDLER
        self.logger.addHandler(own)
        jobs = [
            SimpleNamespace(jobid=number, log=[self.log(rule)], attempt=1, restart_times=0)
            for number, rule in ((1, "train"), (2, "plots"))
        ]
        self.workflow = SimpleNamespace(
            logger_manager=SimpleNamespace(
                logger=self.logger, settings=SimpleNamespace(**SETTINGS | self.settings)
            ),
            is_main_process=self.main_process,
            storage_settings=SimpleNamespace(default_storage_prefix=self.storage),
            execution_settings=SimpleNamespace(keep_going=False, debug=False),
            scheduler=SimpleNamespace(running={1}),
            dag=SimpleNamespace(jobs=jobs),
            dryrun=False,
            _rundir=str(self.folder),
        )
        self.handler: Any = terminal.install(
            self.workflow, lambda: ["the summary"], lambda: ["of before"]
        )

    def log(self, rule: str) -> str:
        return str(self.folder / f"{rule}.log")

    def tell(self, text: str | None, event: LogEvent | None = None, **more: Any) -> list[str]:
        """Log a record, and return the lines that it adds to the terminal."""
        place = len(self.stream.getvalue())
        level = logging.ERROR if event and "error" in event else logging.INFO
        self.logger.log(level, text, extra={"event": event, **more} if event else more)
        return self.stream.getvalue()[place:].removeprefix(CLEARED).splitlines()

    def count(self, **stages: int) -> list[str]:
        stats = stages | {"total": sum(stages.values())}
        return self.tell(f"Job stats:\n{stats}\n", LogEvent.RUN_INFO, stats=stats)

    def begin(self, number: int, rule: str, message: str | None, **more: Any) -> list[str]:
        job = {"jobid": number, "rule_name": rule, "rule_msg": message, "indent": False}
        job |= {"wildcards": {}} | more
        return self.tell("a job", LogEvent.JOB_INFO, **job)

    def fail(self, number: int, rule: str, how: str | None) -> list[str]:
        """Log what Snakemake does when a job's command has ended in some way."""
        lines: list[str] = []
        if how is not None:
            text = f"RuleException:\n{COMMAND} {how}."
            lines = self.tell(text, LogEvent.ERROR, exception="RuleException")
        job = {
            "jobid": number,
            "rule_name": rule,
            "rule_msg": None,
            "indent": False,
            "log": [self.log(rule)],
        }
        return lines + self.tell(f"Error in rule {rule}", LogEvent.JOB_ERROR, **job)

    def end(self) -> list[str]:
        return self.tell(FINAL, LogEvent.ERROR, exception="WorkflowError")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put the environment back after each test."""
    monkeypatch.setenv(LEFT_TO_PARENT, "before")
    yield


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path, {})


def test_a_stage_is_one_line_that_says_how_far_the_run_is(run: Run) -> None:
    assert run.count(train=1, plots=2, all=1) == []
    assert run.begin(1, "train", "Train fast") == ["[train] Train fast (1 of 3)"]
    assert run.begin(2, "plots", "Draw", indent=True) == ["[plots] Draw (2 of 3)"]
    # A second try is the same stage.
    assert run.begin(1, "train", "Train fast") == ["[train] Train fast (1 of 3)"]
    assert run.begin(3, "all", None) == []


@pytest.mark.parametrize(
    "text", [*terminal.SCAFFOLDING, "", "\n", None], ids=lambda text: repr(text)[:20]
)
def test_what_says_nothing_of_the_users_run_is_left_out(run: Run, text: str | None) -> None:
    assert run.tell(f"{text} and more" if text and text.strip() else text or "") == []


@pytest.mark.parametrize(
    "event",
    [
        LogEvent.JOB_STARTED,
        LogEvent.JOB_FINISHED,
        LogEvent.PROGRESS,
        LogEvent.RESOURCES_INFO,
        LogEvent.SHELLCMD,
        LogEvent.GROUP_INFO,
        LogEvent.WORKFLOW_STARTED,
    ],
)
def test_how_snakemake_works_is_left_out(run: Run, event: LogEvent) -> None:
    assert run.tell("Execute 2 jobs...", event) == []


def test_what_is_not_known_is_shown(run: Run) -> None:
    for line in ("Job 3 has been submitted with SLURM jobid 17", "Storing output in storage."):
        assert run.tell(f"{line}\n") == [line]
    run.logger.warning("a warning")
    assert run.stream.getvalue().endswith("a warning\n")
    assert run.tell("MissingInputException", LogEvent.ERROR, exception="X") == [
        "MissingInputException"
    ]


@pytest.mark.parametrize(
    "line", ["error: a.csv: row 3: empty", "stopped by SIGINT after epoch 3 of 8; and so on"]
)
def test_a_jobs_closing_lines_are_the_last_line_and_are_there_once(run: Run, line: str) -> None:
    Path(run.log("train")).write_text(f"epoch 1\n{line}\n")
    run.begin(1, "train", "Train fast")
    assert run.fail(1, "train", "returned non-zero exit status 1") == []
    assert run.end() == ["of before", line]


def test_closing_lines_are_shown_at_once_too_where_other_jobs_run_on(run: Run) -> None:
    Path(run.log("plots")).write_text("error: no room\n")
    run.workflow.scheduler.running = {1, 2}
    status = "returned non-zero exit status 1"
    assert run.fail(2, "plots", status) == ["[plots] error: no room"]
    assert run.end() == ["of before", "error: no room"]


def test_what_became_of_a_job_that_was_tried_again_is_told_of_the_last_try(run: Run) -> None:
    run.workflow.dag.jobs[0].restart_times = 1
    Path(run.log("train")).write_text("stopped by SIGTERM after epoch 1\n")
    status = "returned non-zero exit status 143"
    assert run.fail(1, "train", status) == ["[train] stopped by SIGTERM after epoch 1"]
    run.begin(1, "train", "Train fast")
    Path(run.log("plots")).write_text("error: no room\n")
    run.fail(2, "plots", "returned non-zero exit status 1")
    assert run.end() == ["of before", "error: no room"]


KILLED = "error: train was ended by SIGKILL, as when the memory is full; see train.log"


@pytest.mark.parametrize(
    ("how", "line"),
    [
        ("died with <Signals.SIGKILL: 9>", KILLED),
        ("returned non-zero exit status 137", KILLED),
        ("died with <Signals.SIGSEGV: 11>", "error: train was ended by SIGSEGV; see train.log"),
        ("returned non-zero exit status 3", "error: train ended with exit code 3; see train.log"),
        (
            "died with <Signals.SIGINT: 2>",
            "stopped by SIGINT in train; the same command carries on from there",
        ),
    ],
)
def test_a_job_without_closing_lines_ends_in_a_line_that_names_its_log(
    run: Run, how: str, line: str
) -> None:
    Path(run.log("train")).write_text("Traceback\nKeyError: 'x'\n")
    assert run.fail(1, "train", how) == []
    assert run.end() == ["of before", line]


def test_of_a_job_on_a_cluster_what_snakemake_knows_is_shown(run: Run) -> None:
    assert run.fail(1, "train", None) == ["Error in rule train"]
    assert run.end()[-1] == f"error: train failed; see {run.log('train')}"


def test_a_group_fails_by_the_words_of_one_of_its_jobs(run: Run) -> None:
    Path(run.log("plots")).write_text("error: no room\n")
    jobs = [
        {"jobid": number, "rule_name": rule, "log": [run.log(rule)]}
        for number, rule in ((1, "train"), (2, "plots"))
    ]
    run.workflow.scheduler.running = {1, 2}
    (line,) = run.tell("Error in group", LogEvent.GROUP_ERROR, job_error_info=jobs)
    assert line == "[plots] error: no room"
    for job in jobs:
        assert run.tell("Error in rule", LogEvent.JOB_ERROR, indent=True, **job) == []
    assert run.end() == ["of before", "error: no room"]


def test_a_stop_between_two_jobs_is_told(run: Run) -> None:
    line = "Terminating processes on user request, this might take some time."
    assert run.tell(line) == [line]
    assert run.end()[-1] == "stopped by SIGINT; the same command carries on from there"


def test_a_failure_of_which_nothing_is_known_keeps_snakemakes_words(run: Run) -> None:
    assert run.end() == ["of before", *FINAL.splitlines()]


def test_where_nothing_is_to_be_done_the_summary_follows(run: Run) -> None:
    line = "Nothing to be done (all requested files are present and up to date)."
    assert run.tell(line) == [line, "the summary"]
    run.workflow.dryrun = True
    assert run.tell(line) == [line]


def test_a_dry_run_shows_why_each_stage_would_run_and_one_table(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terminal, "reason_in_short", lambda dag, job: f"reason {job.jobid}")
    run.workflow.dryrun = True
    assert run.count(train=1, all=1) == []
    assert run.begin(1, "train", "Train fast") == ["[train] Train fast: reason 1"]
    assert run.count(train=1, all=1)[0] == "Job stats:"


def test_a_locked_folder_ends_in_the_command_that_unlocks_it(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["./snakemake", "--directory", "my runs", "submission.csv"])
    (line,) = run.tell("...", LogEvent.ERROR, exception="LockException")
    assert line.startswith("error: this folder is locked: ")
    assert line.endswith(": ./snakemake --unlock --directory 'my runs' submission.csv")


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("/somewhere/bin/snakemake", "snakemake"),
        (".venv/bin/snakemake", ".venv/bin/snakemake"),
        ("/a/snakemake/__main__.py", shlex.join([sys.executable, "-m", "snakemake"])),
    ],
)
def test_snakemake_is_called_as_the_user_called_it(
    monkeypatch: pytest.MonkeyPatch, program: str, expected: str
) -> None:
    monkeypatch.setattr("shutil.which", lambda _: "/somewhere/bin/snakemake")
    assert terminal.unlock_command([program, "-n"]) == f"{expected} --unlock -n"


@pytest.mark.parametrize(
    "settings",
    [
        {"verbose": True},
        {"printshellcmds": True},
        {"debug_dag": True},
        {"show_failed_logs": True},
        {"quiet": {Quietness.ALL}},
        {"log_handler_settings": {"a plugin": None}},
    ],
    ids=str,
)
def test_snakemakes_own_lines_stay_where_the_user_wants_other_ones(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    run = Run(tmp_path, settings)
    assert run.handler is None
    assert run.tell("Building DAG of jobs...") == ["Building DAG of jobs..."]
    assert LEFT_TO_PARENT not in os.environ


def test_a_job_on_another_machine_shows_its_closing_lines_itself(tmp_path: Path) -> None:
    assert Run(tmp_path, {}, main_process=False).handler is None
    assert LEFT_TO_PARENT not in os.environ


def test_jobs_whose_logs_are_in_a_storage_show_their_closing_lines_themselves(
    tmp_path: Path,
) -> None:
    assert Run(tmp_path, {}, storage="s3://bucket").handler
    assert LEFT_TO_PARENT not in os.environ
    assert Run(tmp_path, {}).handler
    assert os.environ[LEFT_TO_PARENT] == "1"


def test_what_the_user_wants_less_of_is_left_out(tmp_path: Path) -> None:
    run = Run(tmp_path, {"quiet": {Quietness.RULES, Quietness.HOST}})
    assert run.begin(1, "train", "Train fast") == []
    assert run.tell("on this host", quietness=Quietness.HOST) == []


def test_a_terminal_is_cleared_of_a_half_drawn_bar(tmp_path: Path) -> None:
    run = Run(tmp_path, {}, stream=Terminal())
    run.tell("a line")
    assert run.stream.getvalue() == f"{CLEARED}a line\n"


class FakeScreen:
    """Stands for a terminal's screen: it notes what it is told."""

    def __init__(self, stream: object, stages: int, rules: dict[str, int]) -> None:
        self.told: list[Any] = [(stages, list(rules))]

    def begin(self, *job: object) -> None:
        self.told.append(("begin", *job))

    def note_submission(self, jobs: list[int], submitted_as: str) -> None:
        self.told.append(("submission", jobs, submitted_as))

    def end(self, number: int, how: str, lines: list[str] | None = None) -> None:
        self.told.append(("end", number, how, list(lines or [])))

    def show(self, lines: list[str]) -> None:
        self.told.append(("show", lines)) if lines else None

    def close(self) -> None:
        self.told.append("close")

    def new(self) -> list[Any]:
        """Return what it has been told since the last time."""
        new, self.told = self.told, []
        return new


@pytest.fixture
def on_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run whose standard error is a terminal."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("terminal_screen.Screen", FakeScreen)
    return Run(tmp_path, {}, stream=Terminal())


def test_a_terminal_shows_stages_on_its_screen(on_terminal: Run) -> None:
    run = on_terminal
    run.count(train=1, plots=2, all=1)
    assert run.begin(1, "train", "Train fast", wildcards={"seed": "0"}) == []
    screen = run.handler.screen
    assert isinstance(screen, FakeScreen)
    log = run.log("train")
    assert screen.new() == [
        (3, ["train", "plots"]),
        ("begin", 1, "train", "Train fast", {"seed": "0"}, log),
    ]
    run.tell("Finished", LogEvent.JOB_FINISHED, job_id=1)
    assert screen.new() == [("end", 1, "done", [])]
    assert run.tell("Terminating processes on user request, this might take") == []
    assert screen.new() == [("show", ["Terminating processes on user request, this might take"])]
    run.handler.show_last(["the summary"])
    assert screen.new() == [("show", [""]), "close"]
    assert run.stream.getvalue().endswith("the summary\n")


@pytest.mark.parametrize(
    ("line", "how"), [("error: a.csv: empty", "failed"), ("stopped by SIGINT after", "stopped")]
)
def test_a_failure_is_marked_on_the_screen_and_told_of_below_it(
    on_terminal: Run, line: str, how: str
) -> None:
    run = on_terminal
    run.begin(1, "train", "Train fast")
    run.begin(2, "plots", "Draw")
    screen = run.handler.screen
    assert isinstance(screen, FakeScreen)
    screen.new()
    Path(run.log("plots")).write_text(f"{line}\n")
    run.workflow.scheduler.running = {1, 2}
    run.fail(2, "plots", "returned non-zero exit status 1")
    assert screen.new() == [("end", 2, how, [line])]
    run.workflow.scheduler.running = {1}
    Path(run.log("train")).write_text(f"{line} too\n")
    run.fail(1, "train", "returned non-zero exit status 1")
    # The last one is told of at the end.
    assert screen.new() == [("end", 1, how, [])]
    lines = run.end()
    assert screen.new() == ["close"]
    assert lines == ["of before", line, f"{line} too"]


def test_the_numbers_of_a_clusters_jobs_stand_beside_the_stages(on_terminal: Run) -> None:
    run = on_terminal
    submissions = [
        ("Job 1 has been submitted with SLURM jobid 4711 (log: /a/4711.log).", [1], "4711"),
        ("Submitted job 1 with external jobid '4711.server'.", [1], "4711.server"),
        ("Submitted group job 78399de5-1cf3 with external jobid '17'.", [1, 2], "17"),
    ]
    run.tell("Group job data", LogEvent.GROUP_INFO, group_id="data", jobs=run.workflow.dag.jobs)
    run.begin(1, "train", "Train fast", indent=True)
    screen = run.handler.screen
    assert isinstance(screen, FakeScreen)
    screen.new()
    for text, jobs, number in submissions:
        run.tell(text)
        assert screen.new() == [("submission", jobs, number)]


@pytest.mark.parametrize(
    "change",
    [
        {"TERM": "dumb"},
        {"quiet": {Quietness.RULES}},
        {"quiet": {Quietness.PROGRESS}},
        {"dryrun": True},
        {"debug": True},
    ],
    ids=str,
)
def test_a_screen_is_only_where_it_is_wanted(
    on_terminal: Run, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]
) -> None:
    monkeypatch.setenv("TERM", change.get("TERM", "xterm"))
    monkeypatch.setattr(terminal, "reason_in_short", lambda dag, job: "")
    run = Run(on_terminal.folder, {"quiet": change.get("quiet")}, stream=Terminal())
    run.workflow.dryrun = change.get("dryrun", False)
    run.workflow.execution_settings.debug = change.get("debug", False)
    run.begin(1, "train", "Train fast")
    assert run.handler.screen is None
    wants_stages = Quietness.RULES not in change.get("quiet", ())
    assert ("Train fast" in run.stream.getvalue()) == wants_stages


def test_a_terminal_on_which_no_pipe_can_be_opened_gets_lines(
    on_terminal: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError("no room")

    run = on_terminal
    run.handler.new_screen = fail
    run.count(train=1)
    assert run.begin(1, "train", "Train fast") == ["[train] Train fast (1 of 1)"]


def test_the_end_of_a_long_stage_has_its_line_without_a_terminal(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr("workflow_terminal.time.monotonic", lambda: now)
    for number, rule, seconds, expected in (
        (1, "train", 75, ["[train] done in 1 min 15 s"]),
        (2, "plots", 3, []),
    ):
        run.begin(number, rule, "a stage")
        now += seconds
        assert run.tell("Finished", LogEvent.JOB_FINISHED, job_id=number) == expected
