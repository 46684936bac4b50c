"""A content hash of the code that a script runs.

Workflow managers track a script by its time stamp and ignore the modules that it imports. This
module follows the imports, so that a stage reruns if, and only if, code that it uses has changed.
It parses source text and imports nothing.
"""

import ast
import hashlib
from functools import cache
from pathlib import Path

PACKAGE = "imagepipe"
# These modules affect messages and checks, never the results: a param of its own holds the complete
# options that they read.
WITHOUT_EFFECT_ON_RESULTS = frozenset(
    f"{PACKAGE}.{name}"
    for name in (
        "checks.leakage",
        "config.architectures",
        "config.closing_lines",
        "config.dataset",
        "config.hints",
        "config.options",
        "config.packages",
        "config.recipe",
        "config.recipe_checks",
        "config.settings",
        "config.source_hash",
        "errors",
        "progress",
        "terminal_messages",
        "training.event_files",
    )
)

# The endings of the files that count as a part of the module with the same stem.
PARTS_OF_MODULES = (".css", ".j2", ".js", ".mplstyle", ".rst")


def file_of(module: str, package_folder: Path) -> Path:
    """Return the file of a module, or the `__init__.py` of a package, from its dotted name."""
    path = package_folder.joinpath(*module.split(".")[1:])
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@cache
def imported_modules(source: Path, package_folder: Path) -> frozenset[str]:
    """Return the dotted names of the library's modules that a Python file imports.

    `from imagepipe.archives.zip import read` gives "imagepipe", "imagepipe.archives" and
    "imagepipe.archives.zip": Python runs the `__init__.py` of each package on the way. Imports
    inside functions count.
    """
    names: set[str] = set()
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"), str(source))):
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            imported = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            imported = [alias.name for alias in node.names]
        else:
            continue
        for dotted in imported:
            parts = dotted.split(".")
            if parts[0] == PACKAGE:
                names.update(".".join(parts[:end]) for end in range(1, len(parts) + 1))
    return frozenset(name for name in names if file_of(name, package_folder).is_file())


def modules_of(script: Path, package_folder: Path) -> frozenset[str]:
    """Return the dotted names of all library modules that a script uses, directly or not."""
    found: set[str] = set()
    waiting = [script]
    while waiting:
        for name in imported_modules(waiting.pop(), package_folder) - found:
            found.add(name)
            waiting.append(file_of(name, package_folder))
    return frozenset(found)


def code_hash(script: Path, package_folder: Path) -> str:
    """Return a hash of a script and all library modules that can affect its results.

    A template or style sheet beside a module with the same stem, such as data_report.html.j2 beside
    data_report.py, counts as part of the module.
    """
    result = hashlib.sha256(script.read_bytes())
    for name in sorted(modules_of(script, package_folder) - WITHOUT_EFFECT_ON_RESULTS):
        file = file_of(name, package_folder)
        parts = (p for p in file.parent.glob(f"{file.stem}.*") if p.suffix in PARTS_OF_MODULES)
        for part in (file, *sorted(parts)):
            result.update(f"\0{name}\0".encode())
            result.update(part.read_bytes())
    return result.hexdigest()[:16]
