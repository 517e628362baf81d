"""The pages say what is so: made from the program where they list it, and every name and link in them exists."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "gptoss_tui"
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("benchmarks/*.md")])


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_pages_made_from_the_program_are_current() -> None:
    command = [sys.executable, "scripts/reference.py", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def _without_code(page: Path) -> str:
    return re.sub(r"```.*?```|`[^`]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_to_files(page: Path) -> None:
    text = _without_code(page)
    targets = [target.split("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", text)]
    missing = [t for t in targets if t and "://" not in t and not (page.parent / t).exists()]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_to_headings_lead_to_them(page: Path) -> None:
    text = _without_code(page)
    links = re.findall(r"\]\(([\w./-]*)#([^)\s]+)\)", text)
    missing = [f"{target}#{anchor}" for target, anchor in links if anchor not in _anchors(page.parent / target, page)]
    assert missing == []


def _anchors(target: Path, page: Path) -> set[str]:
    """The anchors of the headings of a page, as GitHub makes them."""
    text = re.sub(r"```.*?```", "", (target if target.is_file() else page).read_text(encoding="utf-8"), flags=re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_tests_that_are_named_exist(page: Path) -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", page.read_text(encoding="utf-8"))
    missing = [
        f"{path}::{test}"
        for path, test in named
        if not (ROOT / path).is_file() or (test and f"def {test}(" not in (ROOT / path).read_text(encoding="utf-8"))
    ]
    assert missing == []


def test_every_invariant_names_its_test() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    invariants = [part for part in text.split("\n\n") if part.startswith("**Architecture invariant:**")]
    assert len(invariants) > 5
    assert [part for part in invariants if "`tests/" not in part] == []


def test_modules_and_types_of_the_code_map_exist() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    sources = {path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py")}
    code = "\n".join((PACKAGE / path).read_text(encoding="utf-8") for path in sources)
    missing = []
    room = ""
    for line in text.splitlines():
        if heading := re.match(r"### `(\w+)/`", line):
            room = heading[1]
        elif line.startswith("#"):
            room = ""
        modules = [name for name in re.findall(r"`([\w/]+\.py)`", line) if not name.startswith("tests/")]
        missing += [name for name in modules if not {Path(room, name), Path(name)} & sources]
        types = re.findall(r"`([A-Z][a-z]+[A-Za-z]*)`", line)
        missing += [kind for kind in types if not re.search(rf"\b{kind}\b", code)]
    assert missing == []


def test_every_variable_of_the_environment_is_described() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    sources = "\n".join(path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py"))
    variables = set(re.findall(r"\"(GPTOSS_[A-Z_]*[A-Z]|HF_[A-Z_]+|NO_COLOR)\"", sources))
    assert len(variables) > 5
    assert [variable for variable in variables if f"`{variable}`" not in page] == []
