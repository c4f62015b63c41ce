"""The notebook's face: the public names, and that asking for one loads no more than it needs."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import collapse_lab as cl

CONTRACT = {
    "build_model": [
        "name",
        "response",
        "layer_scale",
        "in_channels",
        "classes",
        "drop_path",
        "head_init_scale",
        "seed",
    ],
    "train": ["config", "on_step"],
    "capture": ["model", "batches", "sites", "positions", "seed", "groups", "keep_rows", "keep_maps"],
    "stats_of": ["array", "layout", "labels", "ids"],
    "compare": ["arms", "baseline", "factors", "at"],
    "monitor": ["model", "sites", "images", "every", "metrics", "rules"],
    "report": ["runs_or_comparison", "out"],
}


@pytest.mark.parametrize("name", cl.__all__)
def test_every_public_name_resolves(name):
    assert getattr(cl, name) is not None


@pytest.mark.parametrize("name", CONTRACT)
def test_the_signatures_are_those_of_the_contract(name):
    assert list(inspect.signature(getattr(cl, name)).parameters)[: len(CONTRACT[name])] == CONTRACT[name]


def test_the_table_for_editors_and_the_table_of_names_are_the_same():
    source = Path(cl.__file__).read_text()
    shown = {
        f"{module}:{name}" for module, name in re.findall(r"from collapse_lab\.([\w.]+) import (\w+) as \2", source)
    }
    table = ast.literal_eval(re.search(r"_DEFINED_IN = (\{.*?\n\})", source, re.DOTALL)[1])
    assert shown == {f"{module}:{name}" for name, module in table.items()}


def test_importing_the_package_loads_no_heavy_library():
    program = "import sys, collapse_lab; print(sorted({'torch', 'pandas', 'numpy', 'matplotlib'} & set(sys.modules)))"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_importing_a_room_does_not_hide_the_function_of_its_name():
    program = """
import collapse_lab.cli.app, collapse_lab.study.run
import collapse_lab as cl
print(callable(cl.capture), callable(cl.train), callable(cl.report))
"""
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "True True True"


def test_an_unknown_name_is_an_attribute_error():
    assert not hasattr(cl, "colapse")
