"""What stands in the tree: no place of a machine, no registry, no address of a download, and docs that name what is."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from syncd import config

ROOT = Path(__file__).parents[2]
SKIPPED = {".git", ".venv", ".run", ".cache", "build", "node_modules", "__pycache__", ".hypothesis"}
SETTINGS_PAGE = ROOT / "docs" / "operating" / "settings.md"


def files() -> list[Path]:
    """The files of the project: what git tracks or would track; without git, everything that is not made by tools."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if listed.returncode == 0:
        found = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    else:
        found = [path for path in ROOT.rglob("*") if not SKIPPED & set(path.relative_to(ROOT).parts)]
    return [path for path in found if path.is_file()]


def texts() -> list[tuple[Path, str]]:
    return [(path.relative_to(ROOT), path.read_text(encoding="utf-8", errors="replace")) for path in files()]


def test_no_file_names_a_place_of_this_machine() -> None:
    places = [f"{ROOT}/", f"{Path.home()}/"] if Path.home() != Path("/") else [f"{ROOT}/"]
    if ROOT.parent != Path(ROOT.anchor) and ROOT.parent.name not in ("tmp", "src", "opt", "builds", "home"):
        places.append(f"{ROOT.parent}/")
    found = [(str(name), place) for name, text in texts() for place in places if place in text]
    assert found == []


def test_no_file_names_a_package_registry() -> None:
    registries = re.compile(r"\b(?:files\.)?pythonhosted\.org|\bpypi\.org|--(?:extra-)?index-url|\bregistry\.npmjs")
    mine = Path(__file__).relative_to(ROOT)
    assert [str(name) for name, text in texts() if registries.search(text) and name != mine] == []


def test_the_pins_hold_versions_and_nothing_else() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert len(lines) > 50
    pin = re.compile(r"[a-z0-9][a-z0-9._-]*==[0-9][0-9A-Za-z.+!]*( ; [\w .'!<>=()]+)?")
    assert [line for line in lines if not pin.fullmatch(line)] == []


def test_every_dependency_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["test"]]
    pinned = {line.partition("==")[0] for line in (ROOT / "constraints.txt").read_text().splitlines()}
    names = {re.split(r"[\[<>=;, ]", each)[0].lower().replace("_", "-") for each in wanted}
    assert names - pinned == set()


def test_the_import_rule_names_every_connector() -> None:
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    (rule,) = [each for each in tools["importlinter"]["contracts"] if each["type"] == "independence"]
    there = {f"connectors.{path.parent.name}" for path in (ROOT / "connectors").glob("*/__init__.py")}
    assert set(rule["modules"]) == there


def test_no_file_has_a_name_that_says_nothing() -> None:
    empty_names = {"utils", "helpers", "common", "manager", "handler", "processor", "service", "misc", "util"}
    named = [path.relative_to(ROOT) for path in files() if path.suffix == ".py" and path.stem in empty_names]
    assert named == []


def test_links_between_documents_lead_somewhere() -> None:
    links = [
        (name, target)
        for name, text in texts()
        if name.suffix == ".md"
        for target in re.findall(r"\]\(([^)\s#]+)(?:#[^)]*)?\)", text)
        if "://" not in target and not target.startswith("mailto:")
    ]
    broken = [f"{name}: {target}" for name, target in links if not (ROOT / name.parent / target).exists()]
    assert broken == []


def test_decisions_are_numbered_once_and_have_their_parts() -> None:
    records = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))
    assert records
    numbers = [path.name[:4] for path in records]
    assert len(set(numbers)) == len(numbers)
    for path in records:
        heads = re.findall(r"^## (\w+)", path.read_text(), re.MULTILINE)
        assert {"Context", "Decision", "Consequences"} <= set(heads), path.name


@pytest.mark.parametrize("name", sorted(config.VARIABLES))
def test_every_variable_is_explained(name: str) -> None:
    assert re.search(rf"`{name}`", SETTINGS_PAGE.read_text())


def test_every_setting_of_the_firm_is_explained() -> None:
    page = SETTINGS_PAGE.read_text()
    for name in config.Firm.__dataclass_fields__:
        assert re.search(rf"^\| `{name}` \|", page, re.MULTILINE), name
    for word in (*config.ZONES, *config.CLASSES, *config.NEVER_FLOWS):
        assert f"`{word}`" in page


def test_the_example_in_the_settings_page_is_right(tmp_path: Path) -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", SETTINGS_PAGE.read_text(), re.DOTALL)
    config.write_firm_template(tmp_path, "Smith")
    (tmp_path / "firm.yaml").write_text(example)
    firm = config.load_settings(tmp_path, {}).firm
    assert set(yaml.safe_load(example)) == set(config.Firm.__dataclass_fields__)
    assert firm.rules["organisation.name"].by == "ask"


def test_make_help_names_every_command() -> None:
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    (phony,) = re.findall(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    named = set(re.findall(r"^make (\w+)", shown, re.MULTILINE))
    assert named == set(phony.split()) - {"help", "demo"}
