"""collapse-lab merge: captures of shards become one, with its tables."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from collapse_lab.capture.store import load_capture
from collapse_lab.findings.table import analyze, read_table
from tests.findings.test_merging import BATCHES, shard


def test_shards_become_one_capture_with_its_tables(ask, tmp_path: Path):
    folders = [shard(BATCHES[start::2]).save(tmp_path / f"{start}") for start in range(2)]
    code, out, err = ask("merge", *folders, "-o", tmp_path / "whole")
    assert (code, out.strip()) == (0, str(tmp_path / "whole"))
    assert "Capture of 90 images: 3 sites x sampled:8, pooled, 0 of them repeated" in err
    merged, table = load_capture(tmp_path / "whole"), read_table(tmp_path / "whole" / "metrics.parquet")
    assert list(table["value"]) == pytest.approx(list(analyze(merged)["value"]), nan_ok=True)
    assert set(table.run) == {"whole"}
    assert not read_table(tmp_path / "whole" / "series.parquet").empty
    code, out, _ = ask("merge", *folders, "-o", tmp_path / "again", "--keep-groups", "--json")
    assert (code, json.loads(out)["images"]) == (0, 90)
    assert load_capture(tmp_path / "again").held


def test_what_cannot_be_merged_is_said_in_one_line(ask, tmp_path: Path):
    one = shard(BATCHES[:1]).save(tmp_path / "one")
    code, _, err = ask("merge", one, one, "-o", tmp_path / "whole")
    assert code == 4
    assert "captures 1 and 2 share 10 of 10 and 10 images" in err
    assert not (tmp_path / "whole").exists()
    code, _, err = ask("merge", one, "-o", one)
    assert (code, "is one of the shards" in err) == (4, True)
    assert ask("merge", one, one, "-o", tmp_path / "whole", "--allow-shared")[0] == 0
    code, _, err = ask("merge", tmp_path / "nothing", "-o", tmp_path / "whole")
    assert (code, "is not a capture" in err) == (4, True)
