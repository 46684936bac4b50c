"""Windows, where Snakemake itself starts and the workflow would fail halfway."""

import sys

import pytest

from builders import WORKFLOW


def test_windows_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    text = (WORKFLOW / "rules/library.smk").read_text(encoding="utf-8")
    first_lines = text.partition("def checkout")[0]
    exec(first_lines, {})
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(SystemExit, match="error: Windows is not supported; run this in WSL"):
        exec(first_lines, {})
