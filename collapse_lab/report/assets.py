"""The page's own script and style: vendored uPlot and plain modules, put together into one text each, with hashes."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).with_name("assets")
MODULES = (
    *("format", "decode", "store", "state", "shape", "colour", "dom", "theme", "lazy", "csv", "tables", "picture"),
    *(
        "scales",
        "overlap",
        "tell",
        "charts",
        "link",
        "heatmap",
        "arms",
        "search",
        "figure",
        "choices",
        "depth",
        "training",
        "spectra",
        "channels",
        "effects",
    ),
    *("mosaic", "drill", "main"),
)
"""In the order of what they need: each imports from those before it only, so that they work as one script."""
IMPORT = re.compile(r"^import (\{[^}]*\}) from \"\./([a-z]+)\.mjs\";$", re.MULTILINE)
EXPORT = re.compile(r"^export ((?:async )?function|const) (\w+)", re.MULTILINE)


@cache
def script() -> str:
    """uPlot and all modules as one script of its own scope: a page that is one file has no other to import from."""
    own = "\n".join(_scoped(name, (FOLDER / f"{name}.mjs").read_text("utf-8")) for name in MODULES)
    uplot = (FOLDER / "uPlot.iife.min.js").read_text("utf-8")
    return f'{uplot}\n(() => {{\n"use strict";\n{own}\n$main.start();\n}})();\n'


@cache
def style() -> str:
    """uPlot's style and the page's."""
    return "\n".join((FOLDER / name).read_text("utf-8") for name in ("uPlot.min.css", "page.css"))


def policy() -> str:
    """A Content-Security-Policy under which nothing but this script and this style does anything, and nothing loads."""
    return (
        f"default-src 'none'; script-src '{source_hash(script())}'; style-src '{source_hash(style())}'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )


def source_hash(text: str) -> str:
    """As a policy names an inline element of this text."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")


def _scoped(name: str, module: str) -> str:
    """A module as a scope of its own that gives what it exports: `const $NAME = (() => {...})();`."""
    names = ", ".join(found for _, found in EXPORT.findall(module))
    body = EXPORT.sub(r"\1 \2", IMPORT.sub(r"const \1 = $\2;", module))
    return f"const ${name} = (() => {{\n{body}\nreturn {{ {names} }};\n}})();"
