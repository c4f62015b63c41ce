"""collapse-lab merge"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from collapse_lab.cli import output


def merge(
    shards: Annotated[list[Path], typer.Argument(help="Folders of captures made with --keep-groups.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The folder of the merged capture.")],
    allow_shared: Annotated[
        bool, typer.Option("--allow-shared", help="Count an image of two shards twice; else it is refused.")
    ] = False,
    keep_groups: Annotated[bool, typer.Option("--keep-groups", help="So that the result can be merged on.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Make one capture, with its tables, of captures of shards of the images."""
    from collapse_lab.capture.store import load_capture
    from collapse_lab.findings.merging import merge_captures
    from collapse_lab.study.captures import write_capture

    if out.resolve() in [shard.resolve() for shard in shards]:
        raise ValueError(f"{out} is one of the shards; write the merged capture into a folder of its own")
    captured = merge_captures(
        [load_capture(shard) for shard in shards], allow_shared=allow_shared, keep_groups=keep_groups
    )
    write_capture(captured, out)
    facts = captured.facts
    if json:
        output.print_json(
            "merge", path=out, sites=captured.sites, images=facts["images"], repeated_images=facts["repeated_images"]
        )
    else:
        output.human().print(f"{captured!r}, {facts['repeated_images']} of them repeated")
        print(out)
