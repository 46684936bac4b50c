"""A content hash of the code that a script runs.

A workflow manager follows a script by its time stamp, and the modules that it imports not at all.
This module follows the imports, so that a stage reruns when, and only when, code that it uses has
changed.
Nothing is imported on the way: the source text is parsed.
"""

import ast
import hashlib
from functools import cache
from pathlib import Path

PACKAGE = "imagepipe"
# They decide what a user is shown while a job runs, and whether it may, never what it writes.
WITHOUT_EFFECT_ON_RESULTS = frozenset(
    {
        *("architectures", "errors", "last_words", "leakage", "progress", "recipe_checks"),
        "source_hash",
    }
)


@cache
def imported_modules(source: Path, package_folder: Path) -> frozenset[str]:
    """Return the names of the library's modules that a Python file imports, at any depth in it.

    `from imagepipe.files import link` and `import imagepipe.files` both give "files".
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
            if parts[0] == PACKAGE and len(parts) > 1:
                names.add(parts[1])
    return frozenset(name for name in names if (package_folder / f"{name}.py").is_file())


def modules_of(script: Path, package_folder: Path) -> frozenset[str]:
    """Return the names of all library modules that a script uses, directly or through others."""
    found: set[str] = set()
    waiting = [script]
    while waiting:
        for name in imported_modules(waiting.pop(), package_folder) - found:
            found.add(name)
            waiting.append(package_folder / f"{name}.py")
    return frozenset(found)


def code_hash(script: Path, package_folder: Path) -> str:
    """Return a hash of a script and of every library module that can change what it writes."""
    result = hashlib.sha256(script.read_bytes())
    for name in sorted(modules_of(script, package_folder) - WITHOUT_EFFECT_ON_RESULTS):
        result.update(f"\0{name}\0".encode())
        result.update((package_folder / f"{name}.py").read_bytes())
    return result.hexdigest()[:16]
