# Finds the library and sets up the terminal. Included first, because Snakemake already logs lines
# when it reads the configuration.

import io
import os
import shutil
import sys
import tarfile
from pathlib import Path

if sys.platform == "win32":
    sys.exit(
        "error: Windows is not supported; run this in WSL, Docker, or a Linux machine"
    )


def checkout(basedir):
    """Return the folder of this workflow. If Snakemake reads it from git, unpack it first.

    Snakemake gets files from git one by one, so a script could not import its neighbors.
    """
    if isinstance(basedir, os.PathLike):
        return Path(basedir).parents[1]
    from git import Repo

    # A repository on this machine, or Snakemake's clone of another.
    clone = getattr(basedir, "repo_path", None) or basedir.hosted_repo.repo_clone
    repository = Repo(clone)
    commit = repository.commit(basedir.ref).hexsha
    folder = Path(".snakemake", "imagepipe", commit).absolute()
    if not folder.is_dir():
        archive = io.BytesIO()
        repository.archive(archive, commit)
        archive.seek(0)
        unpacked = folder.with_name(f"{commit}.{os.getpid()}")
        with tarfile.open(fileobj=archive) as files:
            # Python 3.11.0 to 3.11.3 have no filters; git writes no archive that needs one.
            has_filter = hasattr(tarfile, "data_filter")
            files.extractall(unpacked, **({"filter": "data"} if has_filter else {}))
        try:
            unpacked.rename(folder)
        except OSError:
            shutil.rmtree(unpacked)  # another job was faster
    return folder.joinpath(basedir.path).parents[1]


ROOT = checkout(workflow.current_basedir)
RULES = ROOT / "workflow" / "rules"
SCRIPTS = ROOT / "workflow" / "scripts"
# Use this library, not an installed one or another module's, which may have another version.
# hooks.smk removes the path again. In jobs, job.py sets it.
for name in list(sys.modules):
    if name.partition(".")[0] in (
        "imagepipe",
        "rerun_reasons",
        "terminal_screen",
        "workflow_terminal",
    ):
        del sys.modules[name]
sys.path.insert(0, str(SCRIPTS))

import workflow_terminal

# As a module, leave the terminal to the other workflow.
IS_MODULE = not workflow.modifier.is_main_snakefile()
# None if the terminal is Snakemake's. Lambdas, because hooks.smk defines the two functions later.
TERMINAL = (
    None
    if IS_MODULE
    else workflow_terminal.install(
        workflow, lambda: summary_lines(), lambda: earlier_submission()
    )
)
