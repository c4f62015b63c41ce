"""A capture of any model in a folder of its own, with its tables beside it, so that `analyze` reads it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from collapse_lab.capture.sites import find_sites, kind_of
from collapse_lab.capture.store import Capture, load_capture
from collapse_lab.data.source import Images, normalise, open_images
from collapse_lab.findings.table import analyze, capture, series_table, write_table
from collapse_lab.ranks import joined, share_of
from collapse_lab.study.asked import PLAIN, Asked, forget_parts
from collapse_lab.study.tables import POSITIONS, device
from collapse_lab.train.load import open_model

SIZE = 224
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""ImageNet's, of pixels in [0, 1]: for a model whose own configuration says nothing."""
FILES = frozenset(
    {"stats.safetensors", "rows.safetensors", "groups.safetensors", "capture.json", "metrics.parquet", "series.parquet"}
)
SAME = ("model", "architecture", "source")


def capture_model(
    uri: str,
    out: Path,
    *,
    data: str,
    split: str = "test",
    size: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    sites: Sequence[str] = (),
    positions: Sequence[str] = POSITIONS,
    layout: Mapping[str, str] | None = None,
    batch: int = 64,
    asked: Asked = PLAIN,
) -> Capture:
    """Pass a data source through the model at an address and write the capture and its tables into `out`.

    `size`, `mean` and `std` are the model's own where its configuration says them, else 224 and ImageNet's; which is
    recorded. Without `sites` every block. Where torch.distributed is initialised the ranks share the batches and the
    first one writes. Raises FileExistsError for a folder that holds something else, before the
    pass, LookupError for a model without blocks, and what loading and capturing raise.
    """
    opened = open_model(uri)
    model = opened.model.to(device())
    facts: dict[str, Any] = {"size": size or opened.size or SIZE}
    facts |= {"mean": list(mean or opened.mean or MEAN), "std": list(std or opened.std or STD)}
    if min(facts["std"]) <= 0:
        raise ValueError(f"std divides every channel and is above 0, got {facts['std']}")
    normalisation = "given" if mean or std else "the model's own" if opened.mean else "ImageNet's"
    require_room(out, {"source": uri, "model": type(model).__name__, "architecture": architecture_of(model)})
    images = open_images(data, split, facts["size"])
    with joined() as (rank, world):
        captured = capture(
            model,
            share_of(_batches(images, facts["mean"], facts["std"], batch, _dtype(model)), rank, world),
            sites=sites or default_sites(model),
            positions=positions,
            layout=layout,
            facts=facts,
            **asked.settings(out),
        )
        captured.facts |= {"source": uri, "data": data, "split": split, "normalisation": normalisation}
        captured.facts["skipped_images"] = list(images.skipped)
        if rank == 0:
            write_capture(captured, out, asked.rows_dtype)
    return captured


def write_capture(captured: Capture, out: Path, rows_dtype: str | None = None) -> None:
    """Statistics and tables; capture.json comes last, so a folder that has one is whole."""
    name = out.resolve().name
    where = {"run": name, "arm": name}
    write_table(series_table(captured).assign(**where), out / "series.parquet")
    write_table(analyze(captured).assign(**where), out / "metrics.parquet")
    captured.save(out, rows_dtype=rows_dtype)
    forget_parts(out)


def require_room(out: Path, facts: Mapping[str, Any]) -> None:
    """Raise FileExistsError unless the folder is new, empty, or a capture of the same model, which is replaced.

    The same is one that agrees in those `facts` that are given.
    """
    if (out / "capture.json").is_file():
        found = load_capture(out, groups=False).facts
        other = [name for name in SAME if name in facts and json.dumps(found.get(name)) != json.dumps(facts.get(name))]
        if other:
            differ = "; ".join(f"{name} {found.get(name)!r} there, {facts.get(name)!r} here" for name in other)
            raise FileExistsError(f"{out} holds a capture of another model ({differ}); choose another --out")
    elif out.exists():
        strange = [path.name for path in sorted(out.iterdir()) if path.name not in FILES and path.name[0] != "."]
        if strange:
            raise FileExistsError(f"{out} is no capture and not empty ({', '.join(strange[:3])}); choose another --out")


def default_sites(model: nn.Module) -> Sequence[str]:
    """Every block; raises LookupError with the kinds there are where none is called so."""
    kinds = Counter(kind_of(site) for site in find_sites(model))
    if "block" not in kinds:
        listed = ", ".join(f"kind:{kind} ({count})" for kind, count in kinds.most_common(12))
        raise LookupError(f"{type(model).__name__} has no kind:block; choose with --sites, for example of: {listed}")
    return ("kind:block",)


def architecture_of(model: nn.Module) -> Any:
    """What a model of ours says it is; None of another."""
    return getattr(model, "architecture", None)


def _batches(
    images: Images, mean: Iterable[float], std: Iterable[float], size: int, dtype: torch.dtype
) -> Iterator[dict[str, Tensor]]:
    for batch in images.batches(size):
        pixels = normalise(batch.image, tuple(mean), tuple(std)).to(dtype)
        yield {"image": pixels, "label": batch.label, "id": batch.id}


def _dtype(model: nn.Module) -> torch.dtype:
    """What the model computes in."""
    floating = (each.dtype for each in model.parameters() if each.is_floating_point())
    return next(floating, torch.float32)
