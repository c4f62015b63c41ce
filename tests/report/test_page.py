"""The page: words from the numbers, nothing from outside, names as text."""

from __future__ import annotations

import json
import math
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from collapse_lab.findings.compare import compare
from collapse_lab.report import words
from collapse_lab.report.assets import source_hash
from collapse_lab.report.layout import DETAILED, layout_of
from collapse_lab.report.page import render, report, weights
from collapse_lab.report.sections import over_training
from collapse_lab.report.sources import Source, arms_of, read_sources
from collapse_lab.report.verdict import findings_of
from tests.report.markup import parsed, text_of

HOSTILE = [
    "<script>alert('x')</script> {{ 7 * 7 }} $x_2$ \u202e & \"q\"",
    "</script><img src=x onerror=alert(1)>",
    "{% raw %}`${7*7}` -->\u2028\U0001f642",
    "x" * 10_000,
]


def test_the_page_loads_nothing_and_runs_only_what_its_policy_names(runs, tmp_path):
    page = report([runs], out=tmp_path / "page.html", baseline="plain").read_text()
    tags = parsed(page)
    assert not [tag for tag, _ in tags.found if tag in ("iframe", "object", "img", "base", "form")]
    for tag, attributes in tags.found:
        for name in ("src", "href", "xlink:href", "action"):
            assert (attributes.get(name) or "#").startswith(("#", "data:")), (tag, attributes)
        assert not [name for name in attributes if name.startswith("on") or name == "style"], (tag, attributes)
    policy = next(own["content"] for _, own in tags.found if own.get("http-equiv") == "Content-Security-Policy")
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    _, script = tags.inside["script"]
    assert rules["script-src"] == f"'{source_hash(script)}'"
    assert rules["style-src"] == f"'{source_hash(tags.inside['style'][0])}'"
    assert "unsafe" not in policy


SECTIONS = ["verdict", "depth", "training", "spectra", "channels", "layer", "probes", "effects", "provenance"]


def test_the_page_leads_from_the_verdict_to_the_provenance(runs, tmp_path):
    page = report([runs], out=tmp_path / "page.html", baseline="plain", title="Mine").read_text()
    tags = parsed(page)
    assert [own["id"] for tag, own in tags.found if tag == "section" and own.get("id")] == SECTIONS
    text = " ".join(tags.text)
    for expected in (
        "Mine",
        "no fault found at 6 sites in 3 seeds, 66 images",
        "Blocks with GRN use",
        "of 64 dimensions",
        "stages.2.blocks.2.act",
        "model.response",
        "fingerprint",
        "collapse-lab report",
    ):
        assert expected in text


def _renamed(runs: Path, name: str) -> list[Source]:
    return [replace(each, arm=name if each.arm == "GRN" else each.arm) for each in read_sources([runs])]


@pytest.mark.parametrize("name", HOSTILE)
def test_names_are_text_whatever_they_hold(runs, name):
    sources = _renamed(runs, name)
    tables = {arm: [s.metrics for s in sources if s.arm == arm] for arm in ("plain", name)}
    page = render(sources, compare(tables, baseline="plain"), name)
    tags = parsed(page)
    assert [tag for tag, _ in tags.found].count("script") == 2
    assert name in "".join(tags.text)
    assert "49" not in re.findall(r"<h1>(.*?)</h1>", page)[0]
    carried = json.loads(tags.inside["script"][0])
    assert name in [arm["name"] for arm in carried["arms"]]


def test_one_arm_alone_is_said_to_have_nothing_to_compare_with(runs, tmp_path):
    one = next(path.parent for path in runs.glob("*/run.json"))
    text = report([one], out=tmp_path / "page.html").read_text()
    assert "there is nothing to compare it with" in text


def test_a_comparison_of_bare_tables_makes_a_page_without_charts(runs):
    sources = read_sources([runs])
    tables = {arm: [s.metrics for s in sources if s.arm == arm] for arm in ("plain", "GRN")}
    page = render([], compare(tables, baseline="plain"), "t")
    found = {own.get("id") for tag, own in parsed(page).found if tag == "section"}
    assert found & set(SECTIONS) == {"verdict", "probes", "effects", "provenance"}
    assert "GRN - plain" in page


def test_the_same_runs_make_the_same_page(runs, tmp_path):
    first, second = (report([runs], out=tmp_path / name, baseline="plain") for name in ("a.html", "b.html"))
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("missing", ["nowhere", "."])
def test_a_folder_without_runs_is_refused_with_what_makes_one(tmp_path, missing):
    with pytest.raises(FileNotFoundError, match="collapse-lab train"):
        report([tmp_path / missing], out=tmp_path / "page.html")


def test_the_table_of_steps_ends_in_the_values_of_the_comparison(runs, comparison):
    sources = read_sources([runs])
    table = over_training(layout_of(sources, findings_of(sources)))
    expected = [words.number(comparison.row(arm, "effective_rank").value) for arm in table.columns[1:]]
    assert table.rows[-1] == ["2", *expected]
    assert [row[0] for row in table.rows] == ["0", "2"]


def test_runs_that_differ_in_their_seed_only_are_one_arm(runs, tmp_path):
    for run in sorted(runs.glob("grn-seed*")):
        copy = shutil.copytree(run, tmp_path / run.name)
        record = json.loads((copy / "run.json").read_text())
        del record["arm"], record["factors"]
        (copy / "run.json").write_text(json.dumps(record))
    arms, factors = arms_of(read_sources([tmp_path]))
    assert {arm: len(own) for arm, own in arms.items()} == {"grn-seed0": 3}
    assert factors is None


def test_a_comparison_of_every_step_makes_the_page_of_the_last(runs):
    sources = read_sources([runs])
    tables = {arm: [s.metrics for s in sources if s.arm == arm] for arm in ("plain", "GRN")}
    every, last = (render([], compare(tables, baseline="plain", at=at), "t") for at in ("all", "last"))
    assert every == last


def test_dimensions_of_unequal_widths_are_said_not_to_be_called(runs):
    sources = read_sources([runs])
    tables = {arm: [s.metrics for s in sources if s.arm == arm] for arm in ("plain", "GRN")}
    wide = [table.assign(channels=2 * table.channels) for table in tables["GRN"]]
    page = render([], compare({"plain": tables["plain"], "wide": wide}, baseline="plain"), "t")
    assert "cannot be called: dimensions of layers of different widths (wide 128" in page


def test_an_arm_without_a_value_is_said_to_have_none_and_why(runs, tmp_path):
    sources = read_sources([runs])
    tables = {arm: [s.metrics for s in sources if s.arm == arm] for arm in ("plain", "GRN")}
    broken = [
        table.assign(value=math.nan, status="degenerate", replicates=None, group_sizes=None) for table in tables["GRN"]
    ]
    page = render([], compare({"plain": tables["plain"], "dead": broken}, baseline="plain"), "t")
    assert "dead: no value (degenerate) of 64 dimensions" in page
    assert "cannot be called: a layer behind it is degenerate" in page


def test_a_run_still_training_is_said_with_the_step_it_is_at(runs, tmp_path):
    run = Path(shutil.copytree(next(runs.glob("*seed0")), tmp_path / "run"))
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(record | {"status": "running", "step": 1, "steps": 900}))
    text = text_of(report([run], out=tmp_path / "page.html").read_text())
    assert "run is still training, at step 2 of 900: the page shows it as of step 2." in text


def test_a_run_without_a_capture_is_shown_with_what_makes_one(runs, tmp_path):
    bare = Path(shutil.copytree(next(runs.glob("*seed0")), tmp_path / "bare"))
    for name in ("metrics.parquet", "series.parquet"):
        (bare / name).unlink()
    shutil.rmtree(bare / "captures")
    text = text_of(report([bare], out=tmp_path / "page.html").read_text())
    assert "No capture yet: bare. Make one with 'collapse-lab capture RUN'" in text
    assert "nothing is measured yet" in text
    for heading in ("Through depth", "Spectra", "Channels", "One layer"):
        assert f"{heading} Nothing to show. No run has a capture yet" in " ".join(text.split())
    both = text_of(report([bare, *sorted(runs.glob("plain*"))], out=tmp_path / "page.html").read_text())
    assert "No capture yet: bare" in both
    assert "no fault found at 6 sites in 3 seeds" in both


def test_arms_without_a_site_in_common_are_shown_side_by_side(runs):
    sources = read_sources([runs])
    other = {site: f"encoder.layer.{place}" for place, site in enumerate(sources[0].metrics.site.unique()) if site}
    moved = [
        replace(each, metrics=each.metrics.assign(site=each.metrics.site.map(other).fillna("")))
        if each.arm == "GRN"
        else each
        for each in sources
    ]
    text = text_of(render(moved, None, "t", why_not="no site is in all arms"))
    assert "The arms are shown side by side and not compared: no site is in all arms." in text
    assert "encoder.layer.0" in text
    assert "stages.2.blocks.0" in text


def test_a_metric_without_any_value_is_a_gap_with_its_reason(runs):
    sources = read_sources([runs])
    broken = [
        replace(
            each,
            metrics=each.metrics.assign(
                value=each.metrics.value.where(each.metrics.metric != "stable_rank"),
                reason=each.metrics.reason.where(each.metrics.metric != "stable_rank", "only noise"),
            ),
        )
        for each in sources
    ]
    page = render(broken, None, "t")
    last = json.loads(parsed(page).inside["script"][0])["last"]
    assert "only noise" in last["reasons"]
    rows = re.findall(r"<tr><th scope=\"row\"><bdi class=\"name\">stages.2.blocks.0</bdi></th>(.*?)</tr>", page)
    assert "–" in rows[0]


def test_of_thousands_of_sites_the_page_writes_the_worst_and_says_how_many_are_left(runs):
    source = read_sources([runs])[0]
    last = source.metrics[(source.metrics.step == 2) & (source.metrics.site == "stages.2.blocks.0")]
    many = pd.concat([last.assign(site=f"layer.{place}", depth=place / 700) for place in range(700)])
    page = render([replace(source, metrics=many, series=pd.DataFrame())], None, "t")
    assert f"The {700 - DETAILED} sites that are not listed show nothing worse" in page
    assert len(page) < 5e6
    assert page.count("layer.699<") >= 1


def test_the_parts_of_a_page_sum_to_its_size(runs, tmp_path):
    path = report([runs], out=tmp_path / "page.html")
    parts = weights(path)
    assert list(parts.values()) == sorted(parts.values(), reverse=True)
    assert sum(parts.values()) == pytest.approx(len(path.read_text()), rel=0.01)


def test_what_images_are_worth_without_a_network_stands_beside_the_probes(runs):
    rows = {"method": "pixels", "metric": "knn_accuracy", "corrected": 0.5, "low": 0.4, "high": 0.6, "value": 0.5}
    table = pd.DataFrame([rows | {"n_seeds": 3, "n_images": 66, "n_train": 24}])
    text = text_of(render(read_sources([runs]), None, "t", baselines=table))
    assert "pixels" in text
    assert "50.0 % [40.0, 60.0]" in text
