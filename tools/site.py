"""Hook of mkdocs: README and the other pages outside `docs` are part of the site, from where they are.

The start page is README.md; a page or image that is linked to and lies elsewhere in the repository joins the site under
its path. Links in the sources stay as they are, relative to the files, and are rewritten on the way.
"""

from __future__ import annotations

import os
import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
DOCS = "docs"
START = "index.md"
README = "README.md"
_LINK = re.compile(r"(\]\()([^)\s#]+)(#[^)\s]*)?(?=[)\s])")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what is linked to outside `docs`, and what that links to."""
    from mkdocs.structure.files import File

    waiting = [README, *(f"{DOCS}/{file.src_uri}" for file in files.documentation_pages())]
    seen = set(waiting)
    for source in waiting:  # grows
        text = (ROOT / source).read_text("utf-8")
        for target in targets(text, source):
            if target in seen or not (ROOT / target).is_file():
                continue
            seen.add(target)
            if not target.startswith(f"{DOCS}/"):
                files.append(File.generated(config, target, abs_src_path=str(ROOT / target)))
            if target.endswith(".md"):
                waiting.append(target)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """The text with its links rewritten from paths in the repository to paths in the site."""
    name = page.file.src_uri
    if name == START:
        return rewritten((ROOT / README).read_text("utf-8"), README)
    return rewritten(markdown, name if page.file.generated_by else f"{DOCS}/{name}")


def targets(text: str, source: str) -> list[str]:
    """Paths in the repository that a page links to."""
    found = (_target(match[2], source) for match in _LINK.finditer(text))
    return [target for target in found if target is not None]


def rewritten(text: str, source: str) -> str:
    """The text of a page of the repository with links that hold in the site."""
    here = posixpath.dirname(_in_site(source))

    def link(match: re.Match[str]) -> str:
        target = _target(match[2], source)
        where = match[2] if target is None else posixpath.relpath(_in_site(target), here or ".")
        return f"{match[1]}{where}{match[3] or ''}"

    return _LINK.sub(link, text)


def _target(link: str, source: str) -> str | None:
    """A link's path in the repository; None for one to another host."""
    if re.match(r"[a-z]+:", link):
        return None
    return os.path.normpath(posixpath.join(posixpath.dirname(source), link))


def _in_site(path: str) -> str:
    return START if path == README else path.removeprefix(f"{DOCS}/")
