"""The house rules that no linter knows."""

import ast
import itertools
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "keepstep"
SOURCES = sorted(PACKAGE.rglob("*.py"))
LOCKS = ("requirements.lock", "requirements-dev.lock", "requirements-bench.lock")
OTHER_PEOPLES_WORDS = {"stream", "object", "item", "task", "bookmark", "syncjob"}


def contracts() -> dict[str, Any]:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return {contract["id"]: contract for contract in settings["tool"]["importlinter"]["contracts"]}


def packages(folder: Path) -> set[str]:
    return {path.parent.name for path in folder.glob("*/__init__.py")}


def public_names(source: Path) -> Iterator[tuple[int, str]]:
    definitions = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, definitions) and not node.name.startswith("_"):
            yield node.lineno, node.name


def words(name: str) -> set[str]:
    """``SyncJobs`` and ``sync_jobs`` -> {sync, job, syncjob}: the single words, and each two neighbours as one."""
    single = [word.removesuffix("s") for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name.replace("_", " "))]
    lower = [word.lower() for word in single]
    return {*lower, *(first + second for first, second in itertools.pairwise(lower))}


def locked(lock: str) -> dict[str, str]:
    text = (ROOT / lock).read_text(encoding="utf-8")
    return dict(re.findall(r"^([a-z0-9.\-]+)(?:\[[^]]*\])?==(\S+)", text, flags=re.MULTILINE))


def test_no_source_file_is_longer_than_400_lines() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in SOURCES}

    assert {path: length for path, length in lengths.items() if length > 400} == {}


def test_no_public_name_uses_another_word_for_one_of_ours() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for path in SOURCES
        for line, name in public_names(path)
        if words(name) & OTHER_PEOPLES_WORDS
    ]

    assert found == []


def test_every_package_has_its_place_in_the_layers() -> None:
    layers = {name.strip() for layer in contracts()["layers"]["layers"] for name in re.split(r"[|:]", layer)}
    optional = {name.strip("()") for name in layers if name.startswith("(")}
    required = {name for name in layers if not name.startswith("(")}
    modules = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__"}
    existing = packages(PACKAGE) | modules

    assert contracts()["layers"]["exhaustive"] is True
    assert required <= existing <= required | optional


def test_every_integration_is_in_the_contract_that_keeps_them_apart() -> None:
    listed = set(contracts()["integrations"]["modules"])

    shared = {"emulation"}
    assert listed == {f"keepstep.integrations.{name}" for name in packages(PACKAGE / "integrations") - shared}


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_file_names_no_host_and_hashes_everything(lock: str) -> None:
    text = (ROOT / lock).read_text(encoding="utf-8")
    requirements = [block for block in re.split(r"\n(?=\S)", text) if not block.startswith("#")]

    assert "://" not in text
    assert not re.search(r"^-", text, flags=re.MULTILINE)
    assert requirements
    assert [block.split()[0] for block in requirements if "--hash=sha256:" not in block] == []


def test_the_lock_files_agree_on_what_they_share() -> None:
    base = locked("requirements.lock")

    for lock in LOCKS[1:]:
        other = locked(lock)
        assert {name: other.get(name) for name in base} == base


def test_the_lock_files_hold_what_the_project_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    asked = [
        *project["project"]["dependencies"],
        *project["build-system"]["requires"],
        *project["dependency-groups"]["build"],
    ]
    names = {re.split(r"[\[<>=!~; ]", requirement)[0].lower() for requirement in asked}

    assert names - set(locked("requirements.lock")) == set()
    assert "dlt" not in locked("requirements.lock") | locked("requirements-dev.lock")


def test_every_decision_is_listed_and_every_link_between_documents_leads_somewhere() -> None:
    decisions = {path.name for path in (ROOT / "docs" / "adr").glob("0*.md")}
    index = (ROOT / "docs" / "adr" / "README.md").read_text(encoding="utf-8")
    architecture = ROOT / "docs" / "architecture.md"

    assert decisions - set(re.findall(r"\((0\d+-[a-z0-9-]+\.md)\)", index)) == set()
    if architecture.exists():
        assert (
            decisions - set(re.findall(r"adr/(0\d+-[a-z0-9-]+\.md)", architecture.read_text(encoding="utf-8"))) == set()
        )

    documents = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    broken = [
        f"{document.relative_to(ROOT)}: {link}"
        for document in documents
        for link in re.findall(r"\]\(([^)#]+)", document.read_text(encoding="utf-8"))
        if "://" not in link and not (document.parent / link).exists()
    ]
    assert broken == []


def test_a_decision_says_its_context_what_was_decided_and_what_follows() -> None:
    for path in sorted((ROOT / "docs" / "adr").glob("0*.md")):
        text = path.read_text(encoding="utf-8")
        assert re.findall(r"^\*\*(Context|Decision|Consequences)\.\*\*", text, flags=re.MULTILINE) == [
            "Context",
            "Decision",
            "Consequences",
        ], path.name
        assert text.startswith(f"# {path.name[:4]}. "), path.name


def test_the_changelog_has_a_place_for_what_is_not_released() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")

    assert re.search(r"^## \[Unreleased\]$", text, flags=re.MULTILINE)


def test_the_menu_shows_every_command_of_the_makefile() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = set(re.findall(r"^\.PHONY: (.*)$", text, flags=re.MULTILINE)[0].split())
    shown = set(re.findall(r"^([a-z]+):.*## ", text, flags=re.MULTILINE))

    assert phony == shown
