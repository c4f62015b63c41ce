"""collapse-lab report on the command line: what it says beside the path of the page."""

from __future__ import annotations

from pathlib import Path

import pytest

from collapse_lab.report.page import weights


@pytest.fixture(scope="module")
def run(study_runs: Path) -> Path:
    return sorted(record.parent for record in study_runs.glob("*/run.json"))[0]


def test_a_page_that_is_too_heavy_is_said_to_be_with_its_parts_and_what_to_leave_out(ask, run, tmp_path, monkeypatch):
    page = tmp_path / "page.html"
    monkeypatch.setattr("collapse_lab.cli.report.HEAVY", 100_000)
    code, out, err = ask("report", run, "--out", page)
    assert (code, out.strip()) == (0, str(page)), "it is written all the same, and its path is all that stdout has"
    told = " ".join(err.split())
    assert f"{page.stat().st_size / 1e6:.1f} MB, much for a mail" in told
    for name, size in list(weights(page).items())[:3]:
        assert f"{name} {size / 1e6:.1f}" in told, "the heaviest parts"
    assert "Leave out runs or arms, capture at fewer steps or --sites, or without --keep-maps." in told


def test_of_a_page_that_a_mail_can_carry_only_the_path_is_said(ask, run, tmp_path):
    code, out, err = ask("report", run, "--out", tmp_path / "page.html")
    assert (code, out.strip(), err) == (0, str(tmp_path / "page.html"), "")


@pytest.mark.parametrize("name", ["page.pdf", "page"])
def test_a_page_that_is_called_something_else_is_a_mistake_of_usage(ask, run, tmp_path, name):
    code, _, err = ask("report", run, "--out", tmp_path / name)
    assert code == 2
    assert "ends in .html" in err
    assert not (tmp_path / name).exists()
