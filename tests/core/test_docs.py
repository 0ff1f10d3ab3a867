"""What the documents say: every example is a spec that compiles, and every model that they list is there."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from netspec.compile import compile_spec
from netspec.spec.load import load_spec

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", "docs/language.md", "docs/using.md")
SPECS = sorted((ROOT / "specs").glob("*.yaml"))
BLOCK = re.compile(r"^```yaml\n(.*?)^```", re.MULTILINE | re.DOTALL)
COMPLETE = re.compile(r"^(input|inputs|base):", re.MULTILINE)
FILE = re.compile(r"# (\S+/\S+\.yaml)\n")


def examples() -> list[tuple[str, str]]:
    """Every whole spec of the pages, with where it stands."""
    found = []
    for page in PAGES:
        text = (ROOT / page).read_text(encoding="utf-8")
        whole = (block for block in BLOCK.finditer(text) if COMPLETE.search(block[1]) and "layers:" in block[1])
        found += [(f"{page}:{text.count(chr(10), 0, block.start()) + 2}", block[1]) for block in whole]
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The zoo, and beside it every file that a page shows under its path."""
    place = tmp_path_factory.mktemp("docs") / "specs"
    shutil.copytree(ROOT / "specs", place)
    for page in PAGES:
        for block in BLOCK.finditer((ROOT / page).read_text(encoding="utf-8")):
            name = FILE.match(block[1])
            if name and not name[1].startswith("specs/"):
                (place / name[1]).parent.mkdir(parents=True, exist_ok=True)
                (place / name[1]).write_text(block[1], encoding="utf-8")
    return place


@pytest.mark.parametrize(("where", "text"), examples(), ids=lambda value: value if "\n" not in value else "")
def test_every_whole_example_compiles_and_meets_what_it_expects(where, text, folder):
    path = folder / "example.yaml"
    path.write_text(text, encoding="utf-8")
    assert compile_spec(load_spec(path)).rows, where
    for variant in re.findall(r"^  (\w+):", text.partition("variants:")[2], re.MULTILINE):
        assert compile_spec(load_spec(path, variant=variant)).rows, (where, variant)


def test_each_part_of_the_language_has_an_example():
    text = "\n".join(text for where, text in examples() if where.startswith("docs/language.md"))
    parts = ("from=", "inputs:", "outputs:", "blocks:", "parameters:", "repeat=", "when=", "variables:", "$include:")
    assert not [part for part in (*parts, "variants:", "base:", "freeze:") if part not in text]


def test_the_readme_lists_the_whole_zoo_with_its_counts():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    listed = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if names := re.findall(r"\(specs/([\w.-]+)\.yaml\)", cells[0]) if line.startswith("|") else []:
            listed |= dict(zip(names, (int(count.replace(",", "")) for count in cells[1].split("; ")), strict=True))
    assert listed == {path.stem: compile_spec(load_spec(path)).parameters for path in SPECS}


def test_links_lead_to_files_and_headings():
    for page in (*PAGES, "docs/verification.md", "docs/layers.md"):
        path = ROOT / page
        for target, _, heading in re.findall(r"\]\((?!https?:)([^)#]*)(#([^)]*))?\)", path.read_text(encoding="utf-8")):
            linked = (path.parent / target) if target else path
            assert linked.exists(), (page, target)
            if heading:
                titles = re.findall(r"^#+ (.*)$", linked.read_text(encoding="utf-8"), re.MULTILINE)
                anchors = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
                assert heading in anchors, (page, heading)
