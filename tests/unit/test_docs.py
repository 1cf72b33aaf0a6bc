"""The docs keep up with the code: generated tables, links, pictures, and every command they name."""

from __future__ import annotations

import importlib.util
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, Final
from xml.etree import ElementTree

import pytest
import typer

from tallystick.cli import build

ROOT: Final = Path(__file__).parents[2]
PAGES: Final = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
PICTURES: Final = sorted((ROOT / "docs" / "images").glob("*.svg"))
_BLOCK: Final = re.compile(r"^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)
_LINK: Final = re.compile(r"\]\((?P<a>[^)\s]+)\)|(?:src|href)=\"(?P<b>[^\"]+)\"")
_GENERATED: Final = re.compile(r"<!-- generated: [a-z-]+ -->")


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.fixture(scope="module")
def render() -> ModuleType:
    """docs/render.py, which is a script and no part of the package."""
    spec = importlib.util.spec_from_file_location("render", ROOT / "docs" / "render.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_generated_tables_are_up_to_date(render: ModuleType) -> None:
    assert sum(len(_GENERATED.findall(page.read_text("utf-8"))) for page in PAGES) == len(render.TABLES)
    for page in PAGES:
        text = page.read_text("utf-8")
        assert render.rendered(text) == text, f"{_name(page)} is out of date: run 'make docs'"


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_links_lead_somewhere(page: Path) -> None:
    text = _BLOCK.sub("", page.read_text("utf-8"))
    for found in _LINK.finditer(text):
        target = found["a"] or found["b"]
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.is_relative_to(ROOT), f"{target} leads out of the repository"
        assert there.exists(), f"{target} does not exist"
        if anchor:
            assert anchor in _anchors(there), f"{target}: no such heading"


def _anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives to headings."""
    headings = re.findall(r"^#+ (.+)$", _BLOCK.sub("", page.read_text("utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_named_commands_exist(page: Path) -> None:
    for words in _commands(page.read_text("utf-8")):
        _check(typer.main.get_command(build([])), words)


def _commands(text: str) -> Iterator[list[str]]:
    """Every ``tallystick …`` in a code block or span, as its words."""
    lines = [line for block in _BLOCK.finditer(text) for line in block["text"].splitlines()]
    spans = re.findall(r"`([^`\n]+)`", _BLOCK.sub("", text))
    for line in (*lines, *spans):
        found = re.match(r"(?:\$ )?(?:\S*/)?tallystick (?P<rest>.+)", line.strip())
        if found is not None:
            yield shlex.split(found["rest"], comments=True)


def _check(command: Any, words: list[str]) -> None:
    """Follow the words into the command line; options must exist where they stand."""
    said = ["tallystick"]
    for word in words:
        children = getattr(command, "commands", None)
        said.append(word)
        if word.startswith("--"):
            known = {name for parameter in command.params for name in parameter.opts}
            assert word.partition("=")[0] in known | {"--help"}, " ".join(said)
        elif children is not None and word != "…":
            assert word in children, f"{' '.join(said)}: no such command"
            command = children[word]


@pytest.mark.parametrize("picture", PICTURES, ids=_name)
def test_pictures_fetch_nothing(picture: Path) -> None:
    text = picture.read_text("utf-8")
    assert ElementTree.fromstring(text).tag == "{http://www.w3.org/2000/svg}svg"  # noqa: S314  our own file
    assert "@font-face" not in text
    assert not re.findall(r"(?:https?:)?//[\w.]+", text.replace("http://www.w3.org/2000/svg", ""))


def test_every_decision_is_in_the_index() -> None:
    folder = ROOT / "docs" / "adr"
    index = (folder / "README.md").read_text("utf-8")
    records = sorted(path for path in folder.glob("*.md") if path.name != "README.md")
    assert [path.name[:4] for path in records] == [f"{number:04d}" for number in range(1, len(records) + 1)]
    for path in records:
        assert f"({path.name})" in index
        assert path.read_text("utf-8").startswith(f"# {path.name[:4]} ")
