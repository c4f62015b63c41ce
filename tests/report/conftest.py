"""The runs of the small study, and their comparison."""

from __future__ import annotations

from pathlib import Path

import pytest

from collapse_lab.findings.compare import Comparison, compare
from collapse_lab.report.sources import arms_of, read_sources
from tests.cli.conftest import ask as ask


@pytest.fixture(scope="module")
def runs(study_runs: Path) -> Path:
    return study_runs


@pytest.fixture(scope="module")
def comparison(runs: Path) -> Comparison:
    arms, factors = arms_of(read_sources([runs]))
    return compare(arms, baseline="plain", factors=factors)
