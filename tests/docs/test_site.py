"""The site builds without a warning, asks no other host for anything, and is readable from disk."""

import re

import pytest

pytestmark = pytest.mark.xdist_group("docs")

_OF_OTHERS = re.compile(
    r"<(?:script|link|img|iframe|source)\b[^>]*?(?:src|href)=[\"']?(?:https?:)?//[^\"'> ]+", re.IGNORECASE
)


def test_every_page_is_built(site, root):
    for page in (root / "docs").rglob("*.md"):
        assert (site / page.relative_to(root / "docs").with_suffix(".html")).is_file()


def test_the_schema_is_published_with_the_site(site, root):
    name = "job-file.schema.json"

    assert (site / name).read_bytes() == (root / "docs" / name).read_bytes()


def test_no_page_asks_another_host_for_anything(site):
    for page in site.rglob("*.html"):
        found = [
            tag
            for tag in _OF_OTHERS.findall(page.read_text(encoding="utf-8"))
            if 'rel="canonical"' not in tag
        ]
        assert found == [], page.name


def test_the_search_works_from_disk(site):
    index = (site / "search/search_index.js").read_text(encoding="utf-8")
    page = (site / "index.html").read_text(encoding="utf-8")

    assert index.startswith("var __index = ")
    assert "last safe moment" in index
    assert 'src="assets/iframe-worker.js"' in page
    assert (site / "assets/iframe-worker.js").is_file()


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ("[gone](gone.md)", "gone.md"),
        ("[gone](index.md#gone)", "#gone"),
        ("[gone](/gone.md)", "/gone.md"),
    ],
)
def test_a_broken_link_fails_the_build(text, warning, root, build, tmp_path):
    config = (root / "mkdocs.yml").read_text(encoding="utf-8")
    head, _, _ = config.partition("\nnav:")
    (tmp_path / "mkdocs.yml").write_text(f"{head}\nnav: [index.md]\n")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/index.md").write_text(f"# Start\n\n{text}\n")

    done = build(tmp_path, tmp_path / "site")

    assert done.returncode == 1
    assert warning in done.stderr
