"""The notebooks: they run, over the public API alone, and what lies in the repository is what they gave."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from tests.test_imports import private_uses

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "analyses" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
LARGEST = 300_000
"""Bytes, so that a forge shows it."""


def _read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def _code(path: Path) -> list[nbformat.NotebookNode]:
    return [cell for cell in _read(path).cells if cell.cell_type == "code"]


def test_there_are_the_three_that_the_analyses_list():
    listed = set(re.findall(r"\(notebooks/(\w+\.ipynb)\)", (ROOT / "analyses" / "README.md").read_text("utf-8")))
    assert {path.name for path in NOTEBOOKS} == listed
    assert len(listed) == 3


EXECUTE = """
import sys, nbformat
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], as_version=4)
NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
print([output.text for cell in notebook.cells for output in cell.get("outputs", []) if output.get("name") == "stderr"])
"""
"""Stands in a process of its own, as a kernel's client leaves sockets open."""


@pytest.mark.notebooks
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_from_top_to_bottom_without_a_word_on_stderr(path):
    here = {**os.environ, "PYTHONPATH": str(ROOT)}  # this tree, wherever the kernel starts
    command = [sys.executable, "-c", EXECUTE, path]
    answer = subprocess.run(command, capture_output=True, text=True, check=False, env=here)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout == "[]\n"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_uses_the_public_api_alone(path):
    code = "\n".join(re.sub(r"^%.*$", "", cell.source, flags=re.MULTILINE) for cell in _code(path))
    assert "import collapse_lab as cl" in code
    assert private_uses(code) == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_lies_there_with_its_outputs_in_order_small_and_without_a_trace_of_a_machine(path):
    nbformat.validate(_read(path))
    cells = _code(path)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert {output.output_type for output in outputs} <= {"execute_result", "display_data", "stream"}
    assert any("image/png" in output.get("data", {}) for output in outputs)
    text = path.read_text("utf-8")
    assert len(text) < LARGEST
    assert not re.search(r"/(home|root|tmp|usr|work)/", text)
