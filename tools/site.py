"""Hooks of the documentation site: README as its first page, and links out of `docs/` as names of files.

A page of the repository may link to a file beside the docs, such as a folder of code; the site holds only the docs, so
there such a link becomes the path as text.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
_LINK = re.compile(r"(?<!!)\[(?P<text>[^\]]*)\]\((?P<target>[^)#\s]+)(?P<anchor>#[^)]*)?\)")


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Markdown of a page as the site has it; called by mkdocs."""
    folder = PurePosixPath("docs") / PurePosixPath(page.file.src_uri).parent
    if page.file.src_uri == "index.md":
        markdown, folder = (ROOT / "README.md").read_text("utf-8").replace("](docs/", "]("), PurePosixPath("docs")
    return _LINK.sub(lambda link: _inside(link, folder), markdown)


def _inside(link: re.Match[str], folder: PurePosixPath) -> str:
    target = link["target"]
    file = (ROOT / folder / target).resolve()
    if ":" in target or (file.is_relative_to(ROOT / "docs") and file.exists()):
        return link[0]
    text, path = link["text"].strip("`"), target.removeprefix("../")
    return f"`{path}`" if text == path else f"{link['text']} (`{path}`)"
