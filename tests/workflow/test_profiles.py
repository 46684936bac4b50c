"""The profiles as they are shipped, with stand-ins for a cluster's commands."""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from builders import make_competition
from project import QUICK, ROOT, Project, Result, environment, run_of, write_program

PROFILES = sorted(path.name for path in (ROOT / "profiles").iterdir())
CONFIG = ("dataset=cifar10", "raw_dir=kaggle", QUICK)
QUICKLY = ("--retries", "0", "--latency-wait", "5", "--seconds-between-status-checks", "1")

SLURM = (
    *("--workflow-profile", "profiles/slurm", "--slurm-status-command", "squeue"),
    *("--slurm-init-seconds-before-status-checks", "1"),
)


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose next stage is the training, with the layout of the cluster profiles."""
    project = Project.copy_to(tmp_path_factory.mktemp("packed"))
    (project.directory / "kaggle").mkdir()
    make_competition(project.directory / "kaggle", train=40, test=12)
    result = project.run("compare", "split", "form", config=(*CONFIG, "layout=packed"))
    assert result.code == 0, result.output
    return project


@pytest.mark.parametrize("profile", PROFILES)
def test_a_dry_run_with_a_profile_passes(profile: str, packed: Project) -> None:
    layout = () if profile in ("slurm", "cluster-generic") else ("layout=packed",)
    result = packed.run(
        *("submission.csv", "--dry-run", "--workflow-profile", f"profiles/{profile}"),
        config=(*CONFIG, *layout),
        cores=None,
    )
    assert result.code == 0, result.output
    # Where the layout were another one, the data would be stale, too.
    assert result.rules == {
        *("check_data", "train", "runs", "retrain", "predict", "submission", "publish"),
        *("augmentation", "curves", "evaluate", "saliency", "test_predictions"),
        *("report", "model_card"),
    }


@dataclass(frozen=True)
class StandIns:
    """A folder of commands for the path, and the lines that they were called with."""

    folder: Path

    def add(self, commands: dict[str, str]) -> None:
        for name, script in commands.items():
            write_program(self.folder / name, f'here="{self.folder}"\n{script}')

    def submitted(self) -> list[str]:
        return (self.folder / "lines").read_text().splitlines()

    def run(self, project: Project, *arguments: str, config: tuple[str, ...]) -> Result:
        path = f"{self.folder}:{environment()['PATH']}"
        done = subprocess.run(
            project.command(*arguments, *QUICKLY, config=(*CONFIG, *config), cores=None),
            cwd=project.folder,
            env=environment() | {"PATH": path, "PWD": str(project.folder)},
            capture_output=True,
            text=True,
            timeout=300,
        )
        return Result(done.returncode, done.stdout + done.stderr)


@pytest.fixture
def stand_ins(tmp_path: Path) -> StandIns:
    folder = tmp_path / "commands"
    folder.mkdir()
    return StandIns(folder)


def train(seed: int) -> str:
    return f"results/cifar10/{run_of(QUICK)}/seed{seed}/train/model.safetensors"


# It takes down what it is asked for, and refuses it.
SLURM_COMMANDS = {
    "sbatch": 'echo "$@" | head -n 1 >> "$here/lines"; echo refused >&2; exit 1',
    "sinfo": "echo PARTITION; echo 'main*'",
    "squeue": "exit 0",
    "scontrol": "exit 0",
    "sacct": "exit 0",
}


@pytest.mark.parametrize(
    ("arguments", "config", "wanted", "unwanted"),
    [
        (
            (),
            (),
            {
                *("-p main", "--gpus=1", "--nodes=1", "--cpus-per-task=8", "--mem 8000"),
                *("-t 240", "--requeue"),
            },
            {"--ntasks"},
        ),
        (
            (
                *("--set-threads", "train=4"),
                *("--set-resources", "train:runtime=600", "train:mem_mb=16000"),
            ),
            (),
            {"-t 600", "--mem 16000", "--cpus-per-task=4"},
            set(),
        ),
        ((), ("device=cpu",), {"--ntasks=1", "--nodes=1"}, {"--gpus"}),
        (
            ("--set-resources", "train:gpu=4", "train:nodes=2"),
            (),
            {"--gpus=4", "--nodes=2", "--ntasks=2"},
            {"per-gpu"},
        ),
        (
            ("--set-resources", "train:nodes=2"),
            ("device=cpu",),
            {"--ntasks=2", "--nodes=2"},
            {"--gpus"},
        ),
    ],
    ids=["as it is", "as configured", "CPU", "GPUs of two nodes", "CPUs of two nodes"],
)
def test_what_a_training_asks_slurm_for(
    arguments: tuple[str, ...],
    config: tuple[str, ...],
    wanted: set[str],
    unwanted: set[str],
    packed: Project,
    stand_ins: StandIns,
) -> None:
    stand_ins.add(SLURM_COMMANDS)
    result = stand_ins.run(packed, train(0), *SLURM, *arguments, config=config)
    assert result.code == 1, result.output
    (line,) = stand_ins.submitted()
    # It is warned two minutes before its time is over.
    assert "--signal=TERM@120" in line
    for words in wanted:
        assert f" {words} " in f"{line} "
    for words in unwanted:
        assert words not in line


def test_what_the_profile_proposes_in_comments_is_understood(
    packed: Project, stand_ins: StandIns, tmp_path: Path
) -> None:
    text = (ROOT / "profiles/slurm/config.yaml").read_text()
    # What is a setting, and not a sentence.
    text = re.sub(r"^( *)# ( *[a-z_-]+:( [^ ]+| &?[a-z]+)?)$", r"\1\2", text, flags=re.MULTILINE)
    profile = tmp_path / "profile"
    profile.mkdir()
    (profile / "config.yaml").write_text(text)
    shutil.copy(ROOT / "profiles/slurm/options.yaml", profile)
    stand_ins.add(SLURM_COMMANDS | {"sacctmgr": "echo my-project"})
    arguments = ("--workflow-profile", str(profile), *SLURM[2:])
    stand_ins.run(packed, train(0), *arguments, config=())
    (line,) = stand_ins.submitted()
    for words in (
        *("-A my-project", "-p gpu", "-C haswell", "--qos=normal", "--mem 16000", "-t 480"),
        *("--gres=gpu:2", "--gpus=a100:2", "--signal=TERM@120"),
    ):
        assert f" {words} " in f"{line} "


def test_the_data_are_one_job_without_a_gpu(tmp_path: Path, stand_ins: StandIns) -> None:
    project = Project.copy_to(tmp_path)
    (project.directory / "kaggle").mkdir()
    make_competition(project.directory / "kaggle", train=20, test=10)
    stand_ins.add(SLURM_COMMANDS)
    memory = [f"{rule}:mem_mb=3000" for rule in ("extract", "labels", "pack", "compare")]
    stand_ins.run(project, "submission.csv", *SLURM, "--set-resources", *memory, config=())
    (line,) = stand_ins.submitted()
    assert "--mem 3000" in line
    assert "-t 370" in line  # two hours for each of three stages, ten minutes for `labels`
    assert "--cpus-per-task=8" in line
    assert "--gpus" not in line
    for rule in ("extract", "labels", "pack", "compare"):
        assert rule in line
    # What needs a network, or takes a second, is done where Snakemake runs.
    assert (project.directory / "data/cifar10/raw/SHA256SUMS").exists()


# What the manuals say that these commands take and print. Each runs the job's script at once.
RUN = """\
echo "$0 $@" >> "$here/lines"
for script; do :; done
sh "$script" > "$here/out" 2>&1
echo $? > "$here/code"
"""
SCHEDULERS = {
    "pbs": (
        {
            "qsub": f"{RUN}echo 17.server",
            "qstat": '[ "$*" = "-x -f 17.server" ] || exit 35\n'
            'echo "Job Id: 17.server"; echo "    job_state = F"; '
            'echo "    Exit_status = $(cat "$here/code")"',
        },
        "-l select=1:ncpus=8:mem=8000mb:ngpus=1 -l walltime=04:00:00",
    ),
    "pbs without a history": (
        {
            "qsub": f"{RUN}echo 17.server",
            "qstat": "echo qstat: Unknown Job Id 17.server >&2; exit 153",
        },
        "-l select=1:ncpus=8:mem=8000mb:ngpus=1 -l walltime=04:00:00",
    ),
    "lsf": (
        {
            "bsub": f'{RUN}echo "Job <17> is submitted to default queue <normal>."',
            "bjobs": '[ "$*" = "-noheader -o stat 17" ] || exit 255\n'
            '[ "$(cat "$here/code")" = 0 ] && echo DONE || echo EXIT',
        },
        "-n 8 -R span[hosts=1] rusage[mem=8000MB] -gpu num=1 -W 240 -wa TERM -wt 2",
    ),
    "grid engine": (
        {
            "qconf": "exit 0",
            "qsub": f"{RUN}echo 17",
            "qstat": "echo Following jobs do not exist: 17 >&2; exit 1",
            "qacct": '[ "$*" = "-j 17" ] || exit 1\n'
            'echo "jobnumber    17"; echo "failed       0"; '
            'echo "exit_status  $(cat "$here/code")"',
        },
        "-pe smp 8 -l h_rt=14400,s_rt=14280,h_vmem=1000M,gpu=1",
    ),
}


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_a_training_through_another_scheduler(
    scheduler: str, packed: Project, stand_ins: StandIns
) -> None:
    commands, asked_for = SCHEDULERS[scheduler]
    stand_ins.add(commands)
    seed = 1 + list(SCHEDULERS).index(scheduler)
    profile = ("--workflow-profile", "profiles/cluster-generic")
    result = stand_ins.run(packed, train(seed), *profile, config=(f"seed={seed}",))
    assert result.code == 0, result.output
    assert (packed.directory / train(seed)).exists()
    (line,) = stand_ins.submitted()
    assert asked_for in line
    # One that fails is seen to have failed.
    script = packed.folder / "workflow/scripts/train.py"
    text = script.read_text()
    try:
        script.write_text("raise SystemExit(3)\n" + text)
        result = stand_ins.run(packed, train(9), *profile, config=("seed=9",))
    finally:
        script.write_text(text)
    assert result.code == 1
    # Where only the outputs can tell, Snakemake misses them.
    without_history = scheduler == "pbs without a history"
    sign = "missing files" if without_history else "Error in rule train"
    assert sign in result.output


def test_without_a_scheduler_the_message_says_so(packed: Project, stand_ins: StandIns) -> None:
    profile = ("--workflow-profile", "profiles/cluster-generic")
    result = stand_ins.run(packed, train(8), *profile, config=("seed=8",))
    assert result.code == 1
    assert "none of the commands bsub, qconf, qsub is here" in result.output


def test_two_gpus_train_two_members_side_by_side(
    packed: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    cores = len(os.sched_getaffinity(0))
    if cores < 2:
        pytest.skip("needs two cores")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    models = [
        f"results/cifar10/{run_of(QUICK)}/seed{seed}/final/model.safetensors" for seed in (0, 1)
    ]
    result = packed.run(
        *(*models, "--workflow-profile", "profiles/local-gpu"),
        config=(*CONFIG, "layout=packed", "members=2"),
        cores=None,
    )
    assert result.code == 0, result.output
    (log,) = sorted((packed.directory / ".snakemake/log").glob("*.log"))[-1:]
    told = log.read_text()
    began = re.findall(r"^Job (\d+): Train fast@.*, seed ., on all", told, flags=re.MULTILINE)
    assert len(began) == 2
    at_once = told.index(f"Job {began[1]}: Train")
    assert f"Finished jobid: {began[0]} " not in told[:at_once]
    for seed in (0, 1):
        log = packed.directory / f"logs/cifar10/{run_of(QUICK)}/seed{seed}/retrain.log"
        assert f", {cores // 2} threads" in log.read_text()
