"""What the README promises."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PROGRAMS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_the_example_of_the_readme_runs_and_counts_the_planted_rank(capsys):
    exec(compile(PROGRAMS[0], "README.md", "exec"), {})
    assert capsys.readouterr().out.rstrip().endswith("3 of 64 directions")


def test_the_training_of_the_readme_is_watched():
    names: dict[str, Any] = {}
    exec(compile(PROGRAMS[1], "README.md", "exec"), names)
    assert set(names["watch"].table().step) == {0}
    assert names["step"] == 1


def test_the_readme_is_short_enough_to_be_read():
    assert len(README.splitlines()) <= 150


@pytest.mark.parametrize("target", re.findall(r"\]\(([^)#]+)\)", README))
def test_every_link_of_the_readme_leads_somewhere(target):
    assert (ROOT / target).exists()


def test_every_make_target_of_the_readme_exists():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^    make (\w+)", README, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)
