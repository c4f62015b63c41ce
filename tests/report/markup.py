"""A page as a reader of its markup sees it: tags, text, script and style."""

from __future__ import annotations

import re
from html.parser import HTMLParser


class Tags(HTMLParser):
    """Every tag and attribute of a page, and the text of what is neither script nor style, and of these."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.inside: dict[str, list[str]] = {"script": [], "style": []}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        kind = self.found[-1][0] if self.found else ""
        (self.inside.get(kind, self.text) if self.cdata_elem else self.text).append(data)


def parsed(page: str) -> Tags:
    tags = Tags()
    tags.feed(page)
    return tags


def text_of(page: str) -> str:
    """The text that is read, in one line."""
    return re.sub(r"\s+", " ", "".join(parsed(page).text))
