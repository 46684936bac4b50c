"""What a user reads of a run, and how it ends: whole calls of snakemake."""

import re
import shlex
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from builders import make_competition
from imagepipe.training.checkpoint import FILE_NAME
from project import QUICK, Project, Result, environment, kill_group, run_of, wait_until
from pseudo_terminal import PseudoTerminal

CONFIG = ("dataset=cifar10", "raw_dir=kaggle", QUICK)
RUN = run_of(QUICK)
RESULTS = f"results/cifar10/{RUN}/seed0"
LOCKED = "error: this folder is locked: another snakemake works in it, or was killed in it; "
EARLIER = f"submission.csv is still from an earlier call: dataset cifar10, run {RUN}"


@dataclass(frozen=True)
class Finished:
    """A project that has run to its end, and the lines of that run."""

    project: Project
    lines: list[str]


def lines_of(result: Result) -> list[str]:
    """Return what a call has printed, less what Snakemake says before it reads the Snakefile."""
    first, *lines = result.output.splitlines()
    assert first.startswith("Using workflow specific profile")
    return lines


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    project = Project.copy_to(tmp_path_factory.mktemp("finished"))
    raw = project.directory / "kaggle"
    raw.mkdir()
    make_competition(raw, train=40, test=12)
    result = project.run("submission.csv", config=CONFIG)
    assert result.code == 0, result.output
    return Finished(project, lines_of(result))


def summary_of(lines: list[str]) -> list[str]:
    """Return the lines from the one that names dataset and recipe."""
    return lines[next(n for n, line in enumerate(lines) if ", recipe fast" in line) :]


def test_a_run_shows_each_stage_once_and_its_summary_last(finished: Finished) -> None:
    lines = finished.lines
    begun = [line for line in lines if re.search(r" \(\d+ of 23\)$", line)]
    assert [int(line.split()[-3].strip("(")) for line in begun] == list(range(1, 24))
    assert sum(f"[train] Train {RUN}, seed 0, and validate it (" in line for line in begun) == 1
    summary = summary_of(lines)
    assert re.search(r", in ([\d.]+ s|\d+ min \d+ s)$", summary[0])
    assert re.match(
        r"  valid accuracy  0\.\d{4} ± 0\.\d{4} on 10 images, after 1 epoch in", summary[1]
    )
    # Besides, there are the jobs' own lines.
    others = lines[: -len(summary)]
    assert all(re.match(r"\[\w+\] \S", line) for line in others)
    assert "submission" in summary[2]
    # Its paths are those from the folder in which the user stands.
    for line in summary[2:]:
        assert (finished.project.folder / line.split()[-1]).is_file(), line


def test_a_second_call_shows_the_summary_and_a_dry_run_the_option_that_changed(
    finished: Finished,
) -> None:
    lines = lines_of(finished.project.run("submission.csv", config=CONFIG))
    assert lines[0].startswith("Nothing to be done")
    first, *others = summary_of(finished.lines)
    assert lines[1:] == [first.partition(", in ")[0], *others]

    again = finished.project.run("submission.csv", "-n", config=CONFIG)
    assert len(lines_of(again)) == 1
    change = (*CONFIG, "valid_ratio=0.3", "prediction_batch_size=7")
    dry = finished.project.run("submission.csv", "-n", config=change)
    assert "[split] Draw the validation set: valid_ratio changed from 0.1 to 0.3\n" in dry.output
    assert "seed 0): batch_size changed from 500 to 7\n" in dry.output
    assert "and validate it: after split\n" in dry.output
    assert dry.output.count("Job stats:") == 1
    assert "\n\n" not in dry.output


def test_a_users_mistake_is_the_last_line_after_whose_the_submission_is(
    finished: Finished, tmp_path: Path
) -> None:
    project = finished.project.copy(tmp_path / "work")
    raw = tmp_path / "other"
    raw.mkdir()
    make_competition(raw, train=20, test=10)
    with (raw / "trainLabels.csv").open("a") as file:
        file.write("777,cat\n")
    own = project.directory / "own.yaml"
    shutil.copy(project.folder / "workflow/datasets/cifar10.yaml", own)
    config = ("dataset=own.yaml", f"raw_dir={raw}", QUICK)
    result = project.run("submission.csv", config=config)
    assert result.code == 1
    lines = lines_of(result)
    *stages, earlier, error = lines
    assert earlier == EARLIER
    assert error.startswith("error: data/own/extracted/trainLabels.csv: row 22: ")
    assert {line.split()[0] for line in stages} == {"[fetch]", "[extract]", "[tables]", "[labels]"}
    # A file that another program has put there is not taken for ours.
    (project.directory / "submission.csv").write_text("id,label\n")
    result = project.run("submission.csv", config=config)
    assert "submission.csv is from before this call" in lines_of(result)
    # It is not told of where no submission was asked for.
    assert lines_of(project.run("labels", config=config))[-2].startswith("[labels]")
    # Snakemake's own lines are there for those who want them, and the closing lines, too.
    result = project.run("labels", "--verbose", config=config)
    assert "Error in rule labels" in result.output
    assert f"[labels] {error}" in result.output
    assert result.errors == [error]


def test_stopped_and_killed_trainings_end_in_what_to_do(finished: Finished, tmp_path: Path) -> None:
    project = finished.project.copy(tmp_path / "work")
    override = QUICK.replace("epochs: 1", "epochs: 1000")
    config = (*CONFIG[:2], override, "checkpoint_minutes=1e-6")
    results = f"results/cifar10/{run_of(override)}/seed0"
    checkpoint = project.directory / results / ".checkpoint/train" / FILE_NAME
    output = tmp_path / "output"

    def interrupted(number: signal.Signals) -> tuple[int, list[str]]:
        checkpoint.unlink(missing_ok=True)
        with output.open("wb") as file:
            process = project.start("submission.csv", config=config, output=file)
            wait_until(checkpoint.is_file, 120)
            kill_group(process, number)
        return process.returncode, output.read_text().splitlines()

    code, lines = interrupted(signal.SIGINT)
    assert code == 1
    # The training may have come to the end of an epoch in between.
    assert any(line.startswith("Terminating processes on user request") for line in lines)
    assert lines[-2] == EARLIER
    assert re.fullmatch(
        r"stopped by SIGINT after epoch \d+ of 1000( and step .*)?; the same command "
        "carries on from there",
        lines[-1],
    )

    # Also where it has come no farther than importing what it needs.
    checkpoint.unlink()
    module = project.folder / "workflow/scripts/imagepipe/sources/fetching.py"
    before, importing = module.read_text(), tmp_path / "importing"
    waiting = f"""
import time
from pathlib import Path

Path({str(importing)!r}).touch()
time.sleep(60)
"""
    try:
        module.write_text(before + waiting)
        with output.open("wb") as file:
            target = f"{results}/train/model.safetensors"
            process = project.start(target, config=config, output=file)
            wait_until(importing.is_file, 60)
            kill_group(process, signal.SIGINT)
    finally:
        module.write_text(before)
    text = output.read_text()
    assert "Traceback" not in text
    assert text.splitlines()[-1] == (
        "stopped by SIGINT in fetch; the same command carries on from there"
    )

    interrupted(signal.SIGKILL)
    call = project.command("submission.csv", config=config)
    locked = called(call, project.folder)
    assert locked.code == 1
    (error,) = locked.errors
    assert locked.output.endswith(f"{error}\n")
    assert error.startswith(LOCKED)
    unlock = error.removeprefix(f"{LOCKED}if none is running: ")
    assert "--unlock" in shlex.split(unlock)
    assert called(["sh", "-c", unlock], project.folder).code == 0
    result = project.run(f"{RESULTS}/train/model.safetensors", config=CONFIG)
    assert result.code == 0, result.output


def called(command: list[str], folder: Path) -> Result:
    done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True)
    return Result(done.returncode, done.stdout + done.stderr)


# Two trainings at once.
AT_ONCE = ("--set-threads", "train=1", "retrain=1")
STAGE = re.compile(r"✓ (\w+) +\S.* [\d.]+ s$")


def start_on(
    terminal: PseudoTerminal, project: Project, *arguments: str, config: tuple[str, ...]
) -> "subprocess.Popen[bytes]":
    call = project.command(*arguments, config=config)
    return terminal.start(call, project.folder)


def end_of(process: "subprocess.Popen[bytes]", terminal: PseudoTerminal) -> list[str]:
    """Wait for the end of a call, and return all lines but Snakemake's first."""
    terminal.wait_for(lambda: process.poll() is not None, 180)
    terminal.read(0.2)
    assert not terminal.screen.cursor.hidden
    first, *lines = terminal.lines
    assert first.startswith("Using workflow specific profile")
    # Nothing is left of the rows.
    assert not [line for line in lines if re.search(r"━| of \d+ stages", line)]
    return lines


def test_a_terminal_shows_a_block_for_each_stage_and_the_summary_last(
    finished: Finished, tmp_path: Path
) -> None:
    project = finished.project.copy(tmp_path / "work")
    config = (*CONFIG[:2], QUICK.replace("epochs: 1", "epochs: 2"), "members=2")
    with PseudoTerminal(250, 30) as terminal:
        process = start_on(terminal, project, "submission.csv", *AT_ONCE, config=config)
        terminal.wait_for(lambda: terminal.shown[-1:] and "stages" in terminal.shown[-1], 60)
        lines = end_of(process, terminal)
        assert process.returncode == 0, lines
        blank = lines.index("")
        blocks, summary = lines[:blank], lines[blank + 1 :]
        assert ", recipe fast" in summary[0]
        begun, done, rule = set(), [], ""
        epochs = {"train": 0, "retrain": 0}
        for line in blocks:
            if stage := STAGE.match(line):
                rule = stage[1]
                done.append(rule)
            elif line.startswith("▸ "):
                rule = line.split()[1]
                begun.add(rule)
            else:
                # A stage's own lines are below its heading, or have its name.
                of_rule = rule if line.startswith("    ") else line.split()[0]
                assert of_rule in ("check_data", "train", "retrain", "predict", "score")
                if "epoch 2/2: train loss" in line:
                    epochs[of_rule] += 1
        assert begun <= set(done)
        assert done.count("retrain") == done.count("predict") == 2
        assert epochs == {"train": 1, "retrain": 2}

        # A second call has nothing to draw.
        process = start_on(terminal, project, "submission.csv", config=config)
        terminal.wait_for(lambda: process.poll() is not None, 60)
        terminal.read(0.2)
        assert terminal.lines[-len(summary) :] == [summary[0].partition(", in ")[0], *summary[1:]]


def test_bars_of_jobs_at_once_do_not_tear_and_ctrl_c_leaves_the_reason_last(
    finished: Finished, tmp_path: Path
) -> None:
    project = finished.project.copy(tmp_path / "work")
    config = (*CONFIG[:2], QUICK.replace("epochs: 1", "epochs: 5000"))
    with PseudoTerminal(250, 30) as terminal:
        process = start_on(terminal, project, "submission.csv", *AT_ONCE, config=config)

        def bars() -> list[str]:
            return [line for line in terminal.shown if " left  epoch " in line]

        terminal.wait_for(lambda: len(bars()) == 2, 90)
        for _ in range(25):
            terminal.read(0.1)
            *_, blank, first, second, total = terminal.shown
            assert blank == ""
            assert {first.split()[0], second.split()[0]} == {"train", "retrain"}
            for row in (first, second):
                assert re.match(
                    r"  \w+ +[━╸╺]{20}  [\d,]+ of [\d,]+ images  [\d,]+/s  [\d:]+ left  "
                    r"epoch \d+ of 5000(, loss [\d.]+, acc [\d.]+, lr [\d.e-]+)?$",
                    row,
                )
            assert re.match(r" +[━╸╺]{20}  0 of \d+ stages  0:\d\d$", total)
            assert sum("━" in line for line in terminal.lines) == 3
        terminal.type(b"\x03")
        lines = end_of(process, terminal)
        assert process.returncode == 1
        assert "Terminating processes on user request, this might take some time." in lines
        stopped = [line for line in lines if line.startswith("■ ")]
        assert {line.split()[1] for line in stopped} == {"train", "retrain"}
        *_, earlier, _, last = lines
        assert earlier == EARLIER
        assert re.match(r"stopped by SIGINT after epoch \d+ of 5000.*; the same command", last)


def test_a_mistake_is_the_last_line_on_a_terminal_too(finished: Finished, tmp_path: Path) -> None:
    project = finished.project.copy(tmp_path / "work")
    with (project.directory / "kaggle/trainLabels.csv").open("a") as file:
        file.write("777,cat\n")
    with PseudoTerminal(200, 30) as terminal:
        process = start_on(terminal, project, "submission.csv", config=CONFIG)
        lines = end_of(process, terminal)
    assert process.returncode == 1
    *stages, failed, earlier, error = lines
    assert all(STAGE.match(line) for line in stages)
    assert failed.startswith("✗ labels ")
    assert earlier == EARLIER
    assert error.startswith("error: data/cifar10/extracted/trainLabels.csv: row 42: ")
