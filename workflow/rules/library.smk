# Where the library is, and what the terminal shows. It comes first, as Snakemake tells of the
# configuration, too.

import io
import os
import sys
import tarfile
from pathlib import Path


def checkout(basedir):
    """The folder of this workflow. One that Snakemake reads from git is unpacked first.

    Of files from git, Snakemake has one at a time: a script could not import what lies beside it.
    """
    if isinstance(basedir, os.PathLike):
        return Path(basedir).parents[1]
    from git import Repo

    # A repository on this machine, or the clone that Snakemake keeps of another.
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
            pass  # another job was faster
    return folder.joinpath(basedir.path).parents[1]


ROOT = checkout(workflow.current_basedir)
RULES = ROOT / "workflow" / "rules"
SCRIPTS = ROOT / "workflow" / "scripts"
# This library, and not one that is installed or another module's, which may be of another version.
# The path is taken away again in hooks.smk; in jobs, job.py does the same.
for name in list(sys.modules):
    if name.partition(".")[0] in ("imagepipe", "rerun_reasons", "workflow_terminal"):
        del sys.modules[name]
sys.path.insert(0, str(SCRIPTS))

import workflow_terminal

# Within another workflow, the terminal is that one's.
IS_MODULE = not workflow.modifier.is_main_snakefile()
# Lambdas, as the two functions are defined later, in hooks.smk.
LINES_ARE_OURS = not IS_MODULE and workflow_terminal.install(
    workflow, lambda: summary_lines(), lambda: earlier_submission()
)
