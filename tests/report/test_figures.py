"""Figures for papers: the width of a column, fonts embedded, and nothing drawn that the tables do not say."""

from __future__ import annotations

import json
import math
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from collapse_lab.findings.table import capture, write_table
from collapse_lab.report.drawings.curves import cosine, depth
from collapse_lab.report.drawings.effects import compared, effects
from collapse_lab.report.drawings.maps import mosaic
from collapse_lab.report.drawings.selectivity import selectivity
from collapse_lab.report.drawings.sheet import WIDTHS, style
from collapse_lab.report.drawings.spectra import spectra
from collapse_lab.report.drawings.training import training
from collapse_lab.report.figures import FIGURES, figure, options_of
from collapse_lab.report.sources import Source, read_sources

HOSTILE = "<script>alert('x')</script> $x_2$ {{ 7 * 7 }} & \"q\" " + "a very long name " * 600
WITHOUT_MAPS = [name for name in FIGURES if name != "maps"]


@pytest.fixture(scope="module")
def arms(study_runs: Path) -> dict[str, list[Source]]:
    sources = read_sources([study_runs])
    return {arm: [source for source in sources if source.arm == arm] for arm in ("GRN", "plain")}


@pytest.fixture(scope="module")
def with_maps(study_runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first run of each arm, with the maps of three images at its last step."""
    folder = tmp_path_factory.mktemp("maps")
    torch.manual_seed(0)
    images = torch.rand(3, 2, 6, 4)
    for name, slope in (("grn-seed0", 1.0), ("plain-seed0", 0.0)):
        run = folder / name
        shutil.copytree(study_runs / name, run, ignore=shutil.ignore_patterns("captures", "checkpoints"))
        model = nn.Sequential(nn.Conv2d(2, 70, 1), nn.LeakyReLU(slope))
        capture(model, [images], sites=["0", "1"], keep_maps=3, groups=0).save(run / "captures" / "step-00000002")
    return folder


def _changed(arms: dict[str, list[Source]], arm: str, **columns: object) -> dict[str, list[Source]]:
    """The same arms, one with other values in its tables."""
    other = [replace(source, metrics=source.metrics.assign(**columns)) for source in arms[arm]]
    return {**arms, arm: other}


def _text(drawn: object) -> str:
    from matplotlib.text import Text

    return "\n".join(text.get_text() for text in drawn.findobj(Text))  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", WITHOUT_MAPS)
def test_a_figure_is_a_vector_file_of_a_columns_width_with_its_fonts_inside(name, study_runs, tmp_path):
    figure(name, study_runs, out=tmp_path / "f.pdf")
    document = (tmp_path / "f.pdf").read_bytes()
    width, _ = map(float, re.search(rb"/MediaBox \[ 0 0 ([\d.]+) ([\d.]+) \]", document).groups())
    assert width / 72 == WIDTHS[1] == 3.25
    assert b"/FontFile2" in document, "TrueType, embedded"
    assert b"/Type3" not in document
    assert b"/Subtype /Image" not in document


def test_two_columns_are_six_and_three_quarter_inches(study_runs):
    assert figure("depth", study_runs, columns=2).get_figwidth() == 6.75


@pytest.mark.parametrize("ending", ["pdf", "svg", "png"])
def test_the_same_runs_make_the_same_bytes(study_runs, tmp_path, ending):
    paths = [tmp_path / f"{name}.{ending}" for name in "ab"]
    for path in paths:
        figure("depth", study_runs, out=path)
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_letters_of_an_svg_are_outlines_that_need_no_font(study_runs, tmp_path):
    figure("depth", study_runs, out=tmp_path / "f.svg")
    text = (tmp_path / "f.svg").read_text()
    assert "<text" not in text
    assert "<image" not in text


def test_a_depth_curve_is_the_mean_over_seeds_of_the_tables_values(arms):
    (axis,) = depth(arms, metrics=["participation_ratio"]).axes
    for line, own in zip(axis.lines, arms.values(), strict=True):
        tables = pd.concat(source.metrics for source in own)
        rows = tables[(tables.metric == "participation_ratio") & (tables.positions == "sampled:8")]
        rows = rows[(rows.step == 2) & rows.site.str.fullmatch(r"stages\.2\.blocks\.\d")]
        assert line.get_ydata() == pytest.approx(rows.groupby("depth").value.mean().to_numpy())
    assert [label.get_text() for label in axis.get_xticklabels()] == ["2.0", "2.1", "2.2"]


def test_legend_and_note_name_arms_seeds_images_and_bands(arms):
    drawn = depth(arms)
    assert [text.get_text() for text in drawn.legends[0].get_texts()] == ["GRN", "plain"]
    assert "step 2, 3 seeds an arm, 66 images (sampled:8); bands: range of the seeds" in " ".join(_text(drawn).split())
    one = depth({"GRN": arms["GRN"][:1], "plain": arms["plain"]})
    assert [text.get_text() for text in one.legends[0].get_texts()] == ["GRN (1 seed)", "plain (3 seeds)"]


def test_the_band_of_a_single_run_is_its_interval_over_images(arms):
    (axis,) = depth({"GRN": arms["GRN"][:1]}, metrics=["variance_share"]).axes
    table = arms["GRN"][0].metrics
    rows = table[(table.metric == "variance_share") & (table.step == 2) & (table.positions == "sampled:8")]
    rows = rows[rows.site.str.fullmatch(r"stages\.2\.blocks\.\d")]
    band = axis.collections[0].get_paths()[0].vertices
    assert band[:, 1].min() == pytest.approx(rows.low.min())
    assert band[:, 1].max() == pytest.approx(rows.high.max())
    assert "95 % intervals over images" in " ".join(_text(axis.figure).split())


def test_a_site_without_a_value_is_a_gap_and_an_arm_without_any_no_line(arms):
    middle = arms["plain"][0].metrics.site == "stages.2.blocks.1"
    gap = [replace(s, metrics=s.metrics.assign(value=s.metrics.value.mask(middle.to_numpy()))) for s in arms["plain"]]
    (axis,) = depth({"GRN": arms["GRN"], "plain": gap}).axes
    assert np.isnan(axis.lines[1].get_ydata()).tolist() == [False, True, False]
    (axis,) = depth(_changed(arms, "plain", value=math.nan)).axes
    assert np.isnan(axis.lines[1].get_ydata()).all()


def test_a_metric_without_any_value_is_refused_with_the_reason(arms):
    broken = {arm: [*own] for arm, own in arms.items()}
    for arm in arms:
        broken = _changed(broken, arm, value=math.nan, status="degenerate", reason="all rows are the same")
    with pytest.raises(ValueError, match="no value at any of these sites \\(degenerate: all rows are the same\\)"):
        depth(broken)


def test_cosine_distance_runs_over_the_normalised_layer_index(arms):
    (axis,) = cosine(arms).axes
    assert axis.get_xlabel() == "normalised layer index"
    lines = {line.get_label(): line for line in axis.lines}
    for arm, own in arms.items():
        assert lines[arm].get_xdata() == pytest.approx([0, 0.5, 1])
        tables = pd.concat(source.metrics for source in own)
        rows = tables[(tables.metric == "channel_cosine_distance_paper") & (tables.step == 2)]
        rows = rows[rows.site.str.fullmatch(r"stages\.2\.blocks\.\d") & (rows.positions == "sampled:8")]
        assert lines[arm].get_ydata() == pytest.approx(rows.groupby("depth").value.mean().to_numpy())


def test_arms_of_unequal_depth_share_the_normalised_index(arms):
    shallow = [replace(s, metrics=s.metrics[s.metrics.site != "stages.2.blocks.1"]) for s in arms["plain"]]
    (axis,) = depth({"GRN": arms["GRN"], "plain": shallow}).axes
    assert [len(line.get_xdata()) for line in axis.lines] == [3, 2]
    other = [replace(s, metrics=s.metrics.assign(site=s.metrics.site.str.replace("stages", "s"))) for s in shallow]
    (axis,) = depth({"GRN": arms["GRN"], "plain": other}).axes
    assert axis.get_xlabel() == "normalised index of each block"


def test_spectra_are_over_the_largest_with_the_floor_drawn(arms):
    drawn = spectra(arms, sites=["stages.2.blocks.2"])
    (axis,) = drawn.axes
    series = pd.concat(source.series for source in arms["GRN"])
    rows = series[(series.series == "singular_values") & (series.step == 2) & (series.site == "stages.2.blocks.2")]
    rows = rows[rows.positions == "sampled:8"]
    shares = rows.value / rows.groupby("seed").value.transform("max")
    assert axis.lines[0].get_ydata() == pytest.approx(shares.where(shares > 0).groupby(rows["index"]).mean().to_numpy())
    assert axis.get_yscale() == "log"
    assert axis.lines[-1].get_ydata()[0] == pytest.approx((rows.floor / rows.value.max()).max(), rel=0.5)


def test_a_training_heatmap_has_a_row_a_site_a_column_a_step_and_one_scale(arms):
    drawn = training(arms)
    meshes = [axis.collections[0] for axis in drawn.axes[:2]]
    assert meshes[0].get_clim() == meshes[1].get_clim()
    tables = pd.concat(source.metrics for source in arms["GRN"])
    rows = tables[(tables.metric == "effective_rank") & tables.site.str.fullmatch(r"stages\.2\.blocks\.\d")]
    rows = rows[rows.positions == "sampled:8"]
    assert meshes[0].get_array().filled(np.nan) == pytest.approx(
        rows.pivot_table(index="depth", columns="step", values="value").to_numpy()
    )
    grey = training(_changed(arms, "plain", value=math.nan))
    assert "grey: no value" in " ".join(_text(grey).split())


def test_effects_are_those_of_the_comparison_filled_where_they_are_called(arms):
    drawn = effects(arms, metrics=["effective_rank", "variance_share"])
    comparison = compared(arms)
    for axis, metric in zip(drawn.axes, ("effective_rank", "variance_share"), strict=True):
        rows = comparison.table[(comparison.table.kind == "effect") & (comparison.table.metric == metric)]
        (row,) = rows[rows.site == "last third"].itertuples()
        (dot,) = (line for line in axis.lines if line.get_label() == "GRN")
        (interval,) = (line for line in axis.lines if line.get_label() == "GRN interval")
        assert dot.get_xdata()[0] == row.corrected
        assert list(interval.get_xdata()) == [row.low, row.high]
        assert (dot.get_markerfacecolor() != "white") == bool(row.called)


def test_effects_need_every_combination_of_the_factors(arms):
    with pytest.raises(ValueError, match="no full factorial"):
        effects({"GRN": arms["GRN"]})


def test_selectivity_counts_every_channel_of_every_seed(arms):
    drawn = selectivity(arms)
    assert [axis.get_title(loc="left") for axis in drawn.axes] == [f"stages.2.blocks.{place}" for place in range(3)]
    series = pd.concat(source.series for source in arms["plain"])
    rows = series[(series.series == "class_selectivity") & (series.step == 2) & (series.positions == "pooled")]
    values = rows[rows.site == "stages.2.blocks.0"].value.dropna()
    counts, edges = np.histogram(values, bins=25, range=(0, 1))
    drawn_values, drawn_edges, _ = drawn.axes[0].patches[1].get_data()
    assert drawn_values * len(values) / 25 == pytest.approx(counts)
    assert drawn_edges == pytest.approx(edges)


def test_maps_show_64_channels_of_the_same_images_a_column_an_arm(with_maps):
    drawn = figure("maps", with_maps, sites=["1"])
    assert len(drawn.axes) == 3 * 2
    assert [axis.get_title().split("\n")[0] for axis in drawn.axes[:2]] == ["GRN", "plain"]
    assert drawn.axes[0].images[0].get_array().shape == (8 * 7 - 1, 8 * 5 - 1), "squares of 6 x 4, a pixel between"
    assert "the first 64 of 70 channels" in _text(drawn)


def test_a_mosaic_holds_the_values_row_by_row():
    values = np.arange(2 * 3 * 10, dtype=float).reshape(2, 3, 10)
    whole = mosaic(values)
    assert whole[:2, :3] == pytest.approx(values[..., 0])
    assert whole[3:5, :3] == pytest.approx(values[..., 8]), "the ninth channel begins the second row"
    assert np.isnan(whole[2]).all(), "the margin"
    assert np.isnan(whole[3:5, 8:]).all(), "there is no eleventh channel"


@pytest.mark.parametrize("name", WITHOUT_MAPS)
def test_names_are_text_whatever_they_hold_and_long_ones_are_cut(name, arms, tmp_path):
    named = {"plain": HOSTILE, "GRN": "GRN"}
    given = {
        named[arm]: [
            replace(s, arm=named[arm], record={**s.record, "factors": {HOSTILE: arm == "GRN"}}) for s in arms[arm]
        ]
        for arm in arms
    }
    with style():
        drawn = FIGURES[name](given, columns=1)
        drawn.savefig(tmp_path / "f.svg")
    assert drawn.get_figheight() < 8


@pytest.mark.parametrize(
    ("name", "options", "error", "said"),
    [
        ("dept", {}, LookupError, "did you mean 'depth'"),
        ("depth", {"metrics": ["efective_rank"]}, LookupError, "did you mean 'effective_rank'"),
        ("depth", {"sites": ["stages.9.*"]}, LookupError, "no site matches 'stages.9.*'; these runs have: stages.2"),
        ("depth", {"step": 77}, ValueError, "was not measured at step 77; it was at 0, 2"),
        ("depth", {"columns": 3}, ValueError, "1 or 2 columns wide, got 3"),
        ("depth", {"out": "figure.docx"}, ValueError, "one of .pdf, .svg, .png"),
        ("cosine", {"metrics": ["dead_channels", "effective_rank"]}, ValueError, "shows one metric"),
        ("effects", {"sites": ["**"]}, ValueError, "takes no sites; it takes metrics, step"),
        ("effects", {"metrics": ["rankme"]}, LookupError, "rankme is compared in no test"),
        ("maps", {}, FileNotFoundError, "--keep-maps 4"),
    ],
)
def test_what_cannot_be_drawn_is_answered_with_the_repair(name, options, error, said, study_runs):
    with pytest.raises(error, match=re.escape(said)):
        figure(name, study_runs, **options)


def test_runs_without_rows_or_spectra_are_told_what_makes_them(arms):
    bare = {arm: [replace(source, series=pd.DataFrame()) for source in own] for arm, own in arms.items()}
    for draw in (selectivity, spectra):
        with pytest.raises(ValueError, match="collapse-lab capture"):
            draw(bare)


def test_maps_of_other_images_or_several_sites_are_refused(with_maps, tmp_path):
    with pytest.raises(ValueError, match="shows one site"):
        figure("maps", with_maps, sites=["*"])
    copy = shutil.copytree(with_maps, tmp_path / "runs")
    model = nn.Sequential(nn.Conv2d(2, 70, 1), nn.LeakyReLU(0.0))
    other = capture(model, [torch.rand(3, 2, 6, 4)], sites=["0", "1"], keep_maps=3, groups=0)
    other.save(copy / "plain-seed0" / "captures" / "step-00000002")
    with pytest.raises(ValueError, match="maps of different images"):
        figure("maps", copy)


def test_the_command_draws_and_says_how_large_it_is(ask, study_runs, tmp_path):
    out = tmp_path / "deep" / "f.pdf"
    code, printed, err = ask("figure", "training", study_runs, "-o", out, "--metric", "stable_rank", "--json")
    assert code == 0, err
    document = json.loads(printed)
    assert document["path"] == str(out)
    assert document["inches"][0] == 3.25
    assert out.read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("depht", "RUNS", "-o", "f.pdf"), "did you mean 'depth'"),
        (("depth", "RUNS", "-o", "f.doc"), "one of .pdf, .svg, .png"),
        (("depth", "nowhere", "-o", "f.pdf"), "not a run folder"),
        (("maps", "RUNS", "-o", "f.pdf"), "keeps no maps"),
    ],
)
def test_the_command_answers_in_one_line_and_leaves_nothing(ask, study_runs, tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    code, out, err = ask("figure", *(str(study_runs) if each == "RUNS" else each for each in arguments))
    assert code == 4
    assert said in err
    assert len(err.splitlines()) == 1
    assert out == ""
    assert list(tmp_path.iterdir()) == []


def test_every_figure_is_listed_with_its_options(ask):
    rows = json.loads(ask("list", "figures", "--json")[1])["rows"]
    assert [row["name"] for row in rows] == list(FIGURES)
    assert rows[0]["options"] == ", ".join(options_of("depth")) == "metrics, sites, step"


def test_an_unmeasured_run_is_named(study_runs, tmp_path):
    run = shutil.copytree(
        study_runs / "grn-seed0", tmp_path / "r", ignore=shutil.ignore_patterns("metrics.parquet", "captures")
    )
    with pytest.raises(FileNotFoundError, match="has no metrics yet"):
        figure("depth", run)


def test_an_old_table_without_the_metric_is_said_to_be_captured_anew(study_runs, tmp_path):
    run = shutil.copytree(study_runs / "grn-seed0", tmp_path / "r", ignore=shutil.ignore_patterns("captures"))
    table = pd.read_parquet(run / "metrics.parquet")
    write_table(table[table.metric != "rankme"], run / "metrics.parquet")
    with pytest.raises(LookupError, match="capture it anew"):
        figure("depth", run, metrics=["rankme"])
