"""Probes of a run: of the encoder's last map, and of any site, pooled over positions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import pandas as pd
import torch
from torch import Tensor, nn

from collapse_lab.capture.sites import match_sites
from collapse_lab.data.source import Images
from collapse_lab.findings.probes import missing_rows, probe
from collapse_lab.findings.scores import metrics_of
from collapse_lab.findings.table import capture, read_table, write_table
from collapse_lab.runs import Run
from collapse_lab.study.blank import encoder_of
from collapse_lab.study.tables import batches, device, origin, probe_path
from collapse_lab.train.config import Config
from collapse_lab.train.load import load_step

Labelled = tuple[Tensor, Tensor, Tensor]
"""Features (N, C), labels (N,) and identities (N,)."""
KEY = ["step", "site", "metric"]


def probe_step(
    run: Run,
    config: Config,
    step: int,
    train: Images,
    test: Images,
    *,
    sites: Sequence[str] = ("",),
    kinds: Sequence[str] = ("linear",),
) -> pd.DataFrame:
    """Probe the encoder of one step, on whole images: a row for each score at each of `sites`, "" for the last map.

    The rows join those that earlier probes of the run have written, in place of the same ones. Where the images or
    the features allow no probe the row has no value, and the reason. Raises LookupError for an unknown kind or a
    pattern without a site, FileNotFoundError for a step without a checkpoint.
    """
    metrics_of(kinds)  # an unknown one is refused before any work
    model = load_step(run, step).to(device())
    images_hash = _images_hash(run, step)
    last = partial(_last_map, model.forward_features, config)
    probed_at = [("", 1.0, last(train), last(test))] if "" in sites else []
    probed_at += _features(model, config, train, test, [site for site in sites if site])
    rows = []
    for site, depth, learnt, judged in probed_at:
        found = _rows(learnt, judged, kinds, len(train) + len(test)).assign(site=site, depth=depth, **origin(run, step))
        rows.append(found.assign(images_hash=images_hash) if images_hash else found)
    table = pd.concat(rows, ignore_index=True)
    path = probe_path(run)
    before = [read_table(path)] if path.is_file() else []
    write_table(pd.concat([*before, table], ignore_index=True).drop_duplicates(KEY, keep="last"), path)
    return table


def probed(run: Run, step: int) -> set[tuple[str, str]]:
    """(site, metric) of every probe of a step that was made."""
    if not probe_path(run).is_file():
        return set()
    table = read_table(probe_path(run))
    return set(table[table.step == step][["site", "metric"]].itertuples(index=False, name=None))


def unprobed_sites(run: Run, config: Config, step: int, sites: Sequence[str], kinds: Sequence[str]) -> list[str]:
    """Of the last map ("") and the sites that patterns choose: where one of these probes was not made of a step."""
    names = ["", *match_sites(encoder_of(config), sites)]
    there = probed(run, step)
    return [name for name in names if any((name, metric) not in there for metric in metrics_of(kinds))]


def _rows(train: Labelled, test: Labelled, kinds: Sequence[str], images: int) -> pd.DataFrame:
    """The scores on features of `images` images in all; of those that no pass could measure there are no rows."""
    finite = sum(int(features.isfinite().all(dim=1).sum()) for features, _, _ in (train, test))
    if finite < images:
        reason = f"the features of {images - finite} of {images} images are not finite"
        return missing_rows(kinds, reason, len(test[1]), status="non_finite")
    parts = []
    for kind in kinds:
        try:
            parts.append(probe(train[:2], test[:2], [kind], ids=test[2]))
        except ValueError as error:  # of the data, which a study does not choose
            parts.append(missing_rows([kind], str(error), len(test[1])))
    return pd.concat(parts, ignore_index=True)


def _features(
    model: nn.Module, config: Config, train: Images, test: Images, sites: Sequence[str]
) -> Iterator[tuple[str, float, Labelled, Labelled]]:
    """(site, depth, training images, test images) of each site."""
    if sites:
        learnt, judged = (_kept(model, images, config, sites) for images in (train, test))
        for site, (depth, rows) in learnt.items():
            yield site, depth, rows, judged[site][1]


def _last_map(features: Callable[[Tensor], Tensor], config: Config, images: Images) -> Labelled:
    """The last map averaged over positions, whether or not a head follows it."""
    with torch.inference_mode():
        maps = (features(batch["image"].to(device())) for batch in batches(images, config))
        pooled = torch.cat([each.mean(dim=(2, 3)).cpu() for each in maps])
    return pooled, images.label, images.id


def _kept(model: nn.Module, images: Images, config: Config, sites: Sequence[str]) -> dict[str, tuple[float, Labelled]]:
    """Site -> its depth, and its pooled rows of all images; rows that are not finite are no rows."""
    seen = batches(images, config)
    captured = capture(model, seen, sites=sites, positions="pooled", groups=1, keep_rows=len(images))
    found = {}
    for site in captured.sites:
        rows = captured[site].rows
        if rows is not None:
            found[site] = captured.depth(site), (rows.values, rows.label, rows.id)
    return found


def _images_hash(run: Run, step: int) -> str:
    """Of the images that the step was measured on, by which runs are paired; "" where it was not measured."""
    path = run.capture(step) / "metrics.parquet"
    return str(read_table(path).images_hash.iloc[0]) if path.is_file() else ""
