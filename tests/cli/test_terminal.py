"""What a person sees on a terminal, and that nothing else is written where NO_COLOR is set."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from collapse_lab.cli import output

ESCAPE = "\x1b"


@pytest.fixture
def terminal(monkeypatch):
    """As on a terminal of 100 letters a line."""
    monkeypatch.setattr(output, "on_terminal", lambda: True)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("NO_COLOR", raising=False)


@pytest.mark.usefixtures("terminal")
def test_compare_draws_a_table_a_contrast_with_bars_and_says_what_is_found(ask, study_runs):
    code, out, err = ask("compare", study_runs, "--baseline", "plain", "--at", "all")
    assert code == 0, err
    lines = out.splitlines()
    assert f"{ESCAPE}[1m" in out
    assert any("GRN - plain" in line for line in lines)
    row = next(line for line in lines if "effective_rank" in line)
    assert sum(letter in "▁▂▃▄▅▆▇█·" for letter in row) == 3 + 2, "three blocks, two steps"
    assert "Blocks with GRN use" in err
    assert "plain: " in err


@pytest.mark.usefixtures("terminal")
def test_analyze_draws_a_table_a_kind_of_site_and_lists_sites_where_a_metric_is_named(ask, study_runs):
    code, out, err = ask("analyze", study_runs / "grn-seed0")
    assert code == 0, err
    assert "block: 3 sites, 64 channels" in out
    assert "stages.2.blocks.0.act" not in out
    code, out, _ = ask("analyze", study_runs / "grn-seed0", "--metric", "stable_rank")
    assert "stages.2.blocks.0.act" in out


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize("command", ["compare", "analyze", "runs"])
def test_no_color_leaves_no_escape_code(ask, study_runs, command, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    code, out, err = ask(command, study_runs / "grn-seed0" if command == "analyze" else study_runs)
    assert code == 0
    assert ESCAPE not in out + err
    assert "─" in out, "the table is drawn all the same"


@pytest.mark.usefixtures("terminal")
def test_an_empty_no_color_says_nothing(ask, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "")
    assert ESCAPE in ask("list", "data")[1]


@pytest.mark.usefixtures("terminal")
def test_a_narrow_terminal_is_not_overrun(ask, study_runs, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    code, out, _ = ask("analyze", study_runs / "grn-seed0")
    assert code == 0
    assert all(len(line) <= 80 for line in out.splitlines()[1:])


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize("sites", [5, 12])
def test_a_status_is_shown_however_narrow_the_terminal(sites, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    row = ("channel_cosine_distance_live", "▅" * sites, "-0.000123", "-0.000123 at 2.2", "▅▅▅▅▅", "1 degenerate")
    output.draw_table("t", ("metric", "depth", "last", "worst", "steps", "not ok"), [row])
    out = capsys.readouterr().out
    assert all(head in out for head in ("metric", "depth", "last", "worst", "steps", "not ok"))
    assert "▅" * sites in out
    _, _, header, _, *lines = out.splitlines()
    start = header.index("not ok")
    assert "".join(line[start:].strip() for line in lines).replace(" ", "") == "1degenerate"


@pytest.mark.parametrize("command", ["compare", "analyze"])
def test_off_a_terminal_rows_are_separated_by_tabs(ask, study_runs, command):
    code, out, _ = ask(command, study_runs / "grn-seed0" if command == "analyze" else study_runs)
    assert code == 0
    head, *rows = (line.split("\t") for line in out.splitlines())
    assert "metric" in head
    assert rows
    assert {len(row) for row in rows} == {len(head)}
    assert ESCAPE not in out


def test_the_shell_completes_commands_and_options():
    def complete(words: str) -> list[str]:
        asked = {"COMP_WORDS": words, "COMP_CWORD": str(words.count(" ")), "_COLLAPSE_LAB_COMPLETE": "complete_bash"}
        script = Path(sys.executable).with_name("collapse-lab")
        answer = subprocess.run([script], capture_output=True, text=True, check=False, env={**os.environ, **asked})
        return answer.stdout.split()

    assert complete("collapse-lab ana") == ["analyze"]
    assert "--align" in complete("collapse-lab compare --a")
