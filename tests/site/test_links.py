"""Every link of the written pages leads somewhere: files, pages, headings. Nothing is asked of the network."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "teaching" / "README.md", ROOT / "data" / "README.md"]
PAGES += sorted(path for path in DOCS.rglob("*.md") if not {"generated", "notebooks", "api", "extra"} & set(path.parts))
# Written while the site is built: what docs/pages.py puts into docs/extra.
BUILT = re.compile(r"cheatsheet\.html|(download|download/student|slides|print)/\d\d_\w+\.(ipynb|html)")
LINK = re.compile(r'\]\(([^)\s]+)\)|<a [^>]*href="([^"]+)"|^```\{(?:image|figure)\} (\S+)', re.MULTILINE)


def without_code(text: str) -> str:
    """The text without listings and code, whose brackets are no links."""
    listings = re.compile(
        r"^```(?!\{image|\{figure).*?^```|^(?: {4}|\t)(?![-*\d<]).*?$|`[^`\n]+`", re.MULTILINE | re.DOTALL
    )
    return listings.sub("", text)


def anchors(path: Path) -> set[str]:
    """The headings of a page as links name them: lower case, spaces as hyphens, no punctuation."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken(page: Path) -> list[str]:
    """The links of a page that lead nowhere."""
    found = []
    for groups in LINK.findall(without_code(page.read_text(encoding="utf-8"))):
        link = next(filter(None, groups))
        if re.match(r"https?://[\w.-]+\.\w+(/\S*)?$", link) or BUILT.fullmatch(link):
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            found.append(link)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_leads_somewhere(page):
    assert broken(page) == []


def test_a_broken_link_is_found(tmp_path):
    page = tmp_path / "page.md"
    (tmp_path / "other.md").write_text("# A heading, with `code`\n")
    page.write_text(
        "[a](other.md#a-heading-with-code) `[b](none.md)` [c](none.md) [d](other.md#no) [e](#no) [f](http:x)\n"
    )
    assert broken(page) == ["none.md", "other.md#no", "#no", "http:x"]
