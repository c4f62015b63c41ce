"""What an address of images means: a name, packed:FOLDER, hf:REPOSITORY, Parquet files, or a folder of images."""

from __future__ import annotations

from pathlib import Path

from collapse_lab.registry import Registry

SOURCES: Registry[str] = Registry(
    "data source",
    {
        "digits": "collapse_lab.data.digits:digits",
        "packed": "collapse_lab.data.packed:packed",
        "folder": "collapse_lab.data.folder:folder",
        "parquet": "collapse_lab.data.parquet:parquet",
        "hf": "collapse_lab.data.hub:hub",
    },
)
"""Kind -> where its function is, imported when asked for: an image decoder is slow to load."""

FORMS = {
    "digits": "digits",
    "packed": "packed:FOLDER, written by 'collapse-lab data pack'",
    "folder": "a folder of images",
    "parquet": "a Parquet file, a folder or a pattern of them",
    "hf": "hf:OWNER/NAME or hf:OWNER/NAME:CONFIGURATION, of the Hugging Face hub",
}
"""Kind -> how its address is written."""

LISTED = ("folder", "parquet", "hf")
"""Kinds whose images are listed before they are decoded."""

PACK = "pack.json"
"""The file that a finished split of a pack holds."""


def address(uri: str) -> tuple[str, str]:
    """The kind of a source, a name in SOURCES, and its place; `./digits` is a folder where `digits` is a name.

    A folder that holds Parquet files, itself or one level down, is read as such. Raises LookupError for what is no
    address, with the nearest name.
    """
    kind, colon, place = uri.partition(":")
    if uri == "digits":
        return "digits", ""
    if colon and kind in ("packed", "hf"):
        return kind, place
    path = Path(uri).expanduser()
    if path.is_dir() and any(path.glob(f"*/{PACK}")):
        return "packed", str(path)
    if path.suffix == ".parquet" or (path.is_dir() and _holds_parquet(path)):
        return "parquet", str(path)
    if path.exists() or any(mark in uri for mark in "/\\."):
        return "folder", str(path)
    try:
        SOURCES[uri]
        expected = f"{uri!r} needs a place: {FORMS[uri]}"
    except LookupError as error:
        expected = f"{error}; or give the path of a folder of images, such as ./{uri}"
    raise LookupError(expected)


def _holds_parquet(path: Path) -> bool:
    return any(any(path.glob(pattern)) for pattern in ("*.parquet", "*/*.parquet"))
