"""collapse-lab baselines"""

from __future__ import annotations

from typing import Annotated

import typer

from collapse_lab.cli import output

COLUMNS = (
    "method",
    "metric",
    "features",
    "value",
    "spread",
    "corrected",
    "low",
    "high",
    "n_seeds",
    "n_train",
    "n_images",
)


def baselines(
    data: Annotated[str, typer.Option("--data", help="Images with labels; see 'list data'.")] = "digits",
    size: Annotated[int, typer.Option(min=1, help="The side of the square images.")] = 32,
    seeds: Annotated[int, typer.Option(min=1, help="Splits into images to fit and to judge, drawn by 0, 1, ...")] = 3,
    most: Annotated[int | None, typer.Option(min=1, help="Take so many images of each split at most.")] = None,
    kinds: Annotated[list[str] | None, typer.Option("--kinds", help="linear, knn, svm, kmeans; repeatable.")] = None,
    methods: Annotated[list[str] | None, typer.Option("--methods", help="pixels, pca, fourier; repeatable.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """What the images are worth without a network: raw pixels, principal components, Fourier magnitudes, probed.

    Training and test images are put together and split anew, into as many of each, once a seed.
    """
    import torch

    from collapse_lab.data.source import open_images
    from collapse_lab.findings.baselines import KINDS, METHODS, summary
    from collapse_lab.findings.baselines import baselines as classical

    splits = [open_images(data, split, size) for split in ("train", "test")]
    parts = [each.batch(each.sample(min(most or len(each), len(each)), seed=0)) for each in splits]
    chosen = methods or list(METHODS)
    counts = [len(part.label) for part in parts]
    with output.progress(seeds * len(chosen), "probing") as advance:
        table = classical(
            torch.cat([part.image for part in parts]),
            torch.cat([part.label for part in parts]),
            seeds=range(seeds),
            methods=chosen,
            kinds=kinds or KINDS,
            test_share=counts[1] / sum(counts),
            ids=torch.cat([part.id for part in parts]),
            on_method=advance,
        )
    if json:
        output.print_json("baselines", rows=output.records(table))
        return
    title = f"Without learning: {data}, means over {seeds} splits, the range of their 95 % intervals over images"
    output.print_table(title, COLUMNS, summary(table)[list(COLUMNS)].itertuples(index=False))
