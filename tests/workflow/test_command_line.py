"""Small things about calling snakemake that a user would miss."""

import time
from pathlib import Path

from builders import make_competition
from imagepipe.config.openmp import SPINS
from project import Project


def test_raw_files_are_never_changed_and_a_folder_of_ours_is_refused(project: Project) -> None:
    raw = project.directory / "kaggle"
    raw.mkdir()
    make_competition(raw, train=20, test=10)
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in raw.iterdir()}
    assert project.run("pack", config=("dataset=cifar10", "raw_dir=kaggle")).code == 0
    assert {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in raw.iterdir()} == before

    # Snakemake would remove the files of a raw_dir that is its own output.
    ours = project.directory / "data" / "cifar10" / "raw"
    held = sorted(path.name for path in ours.iterdir())
    for own in (str(ours), "data/cifar10/raw"):
        result = project.run("fetch", "--force", config=("dataset=cifar10", f"raw_dir={own}"))
        assert result.code == 1
        assert len(result.errors) == 1
        assert "move yours" in result.errors[0]
    assert sorted(path.name for path in ours.iterdir()) == held


def test_a_file_removed_from_a_folder_is_named_and_can_be_made_again(project: Project) -> None:
    raw = project.directory / "kaggle"
    raw.mkdir()
    make_competition(raw, train=20, test=10)
    config = ("dataset=cifar10", "raw_dir=kaggle")
    assert project.run("pack", config=config).code == 0
    (project.directory / "data/cifar10/extracted/test/3.png").unlink()
    result = project.run("pack", "--forcerun", "pack", config=config)
    assert result.code == 1
    assert "extracted/test/3.png" in result.errors[0]
    assert "--forcerun extract" in result.errors[0]
    result = project.run("pack", "--forcerun", "extract", config=config)
    assert result.code == 0, result.output


def test_nothing_is_loaded_before_the_first_job_that_need_not_be(project: Project) -> None:
    """A call reads the Snakefile each time, and each job of a cluster does so again."""
    snakefile = project.folder / "Snakefile"
    # Plugins of snakemake, which it loads whether they are used or not, may have loaded some.
    before = "import sys\nBEFORE = set(sys.modules)\n"
    check = "print('LOADED', sorted({'torch', 'pandas', 'numpy'} & set(sys.modules) - BEFORE))\n"
    snakefile.write_text(before + snakefile.read_text() + "\n" + check)
    assert "LOADED []" in project.run("--dry-run").output


def test_a_second_call_in_a_directory_is_told_of_the_first(project: Project) -> None:
    raw = project.directory / "kaggle"
    raw.mkdir()
    make_competition(raw, train=20, test=10)
    config = ("dataset=cifar10", "raw_dir=kaggle")
    # The first call waits in its first job, until there is a file that lets it go on.
    script = project.folder / "workflow/scripts/fetch.py"
    waiting = f"""
from pathlib import Path
from time import sleep

Path({str(project.directory / "waits")!r}).touch()
while not Path({str(project.directory / "goes on")!r}).exists():
    sleep(0.02)
"""
    script.write_text(script.read_text().replace("\n\n\ndef main", f"\n{waiting}\n\ndef main"))
    first = project.start("fetch", config=config)
    try:
        wait_for(project.directory / "waits")
        second = project.run("fetch", config=config)
        assert second.code == 1
        (error,) = second.errors
        assert "locked: another snakemake works in it" in error
        assert second.output.endswith(f"{error}\n")
        assert "Traceback" not in second.output
        assert first.poll() is None
    finally:
        (project.directory / "goes on").touch()
        code = first.wait(timeout=60)
    assert code == 0
    assert (project.directory / "data/cifar10/raw/SHA256SUMS").is_file()
    # Nothing is left to be unlocked.
    assert project.run("fetch", config=config).code == 0


def wait_for(path: Path) -> None:
    """Wait until there is a file."""
    until = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < until, f"there is no {path}"
        time.sleep(0.02)


def test_a_program_that_fetch_lacks_is_named_before_any_job(project: Project) -> None:
    module = project.folder / "workflow/scripts/imagepipe/config/packages.py"
    module.write_text(module.read_text().replace('d("kagglehub")', 'd("no_such_package")'))
    result = project.run("fetch", config=("dataset=cifar10",))
    assert result.code == 1
    assert len(result.errors) == 1, result.output
    assert "not installed" in result.errors[0]
    assert not list(project.directory.glob("logs/cifar10/*"))
    # Where its files are there, nothing is missing.
    assert project.run("fetch", "-n", config=("dataset=cifar10",)).code == 0


def test_a_missing_tensorboard_is_named_before_any_job(project: Project) -> None:
    module = project.folder / "workflow/scripts/imagepipe/config/packages.py"
    module.write_text(module.read_text().replace('d("tensorboard")', 'd("no_such_package")'))
    result = project.run("runs", config=("tensorboard=true",))
    assert result.code == 1
    (error,) = result.errors
    assert error.startswith("error: tensorboard is not installed; run `pip install tensorboard`")
    assert not (project.directory / "logs").exists()
    # Nothing else needs it.
    assert project.run("fetch", config=("tensorboard=true",)).code == 0


def test_jobs_are_told_how_their_threads_are_to_wait(project: Project) -> None:
    script = project.folder / "workflow/scripts/fetch.py"
    tell = "import os\n\nprint('SPINS', os.environ.get('GOMP_SPINCOUNT'))\n"
    script.write_text(script.read_text().replace("\n\n\ndef main", f"\n\n{tell}\n\ndef main"))
    assert f"SPINS {SPINS}\n" in project.run("fetch").output
