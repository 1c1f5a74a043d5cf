"""Connectors by name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from connectors import registry
from connectors.errors import Misconfigured
from connectors.memory import Memory

ACME = """
from connectors import Spec


class Acme:
    spec = Spec(name="acme", title="Acme", docs="", zone="practice", hosts=(), settings=(), resources=())

    def pull(self, resource, since):
        return iter(())


class NotOne:
    pass
"""


def install(folder: Path, package: str, lines: str) -> None:
    """What an installed package leaves in site-packages, as far as entry points go."""
    info = folder / f"{package}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[syncd.connectors]\n{lines}\n")
    (folder / f"{package}_connector.py").write_text(ACME)


def test_built_in_connectors_are_known_by_name() -> None:
    assert set(registry.names()) >= {"memory", "clio", "salesforce", "carddav", "tryton"}
    assert registry.load("memory") is Memory
    assert registry.spec("memory").name == "memory"


@pytest.mark.parametrize(("typed", "meant"), [("memroy", "memory"), ("Clio", "clio"), ("sales_force", "salesforce")])
def test_an_unknown_name_gets_the_nearest_right_one(typed: str, meant: str) -> None:
    with pytest.raises(Misconfigured, match=f"Did you mean '{meant}'") as caught:
        registry.load(typed)
    assert meant in caught.value.remedy


def test_a_name_like_nothing_gets_the_list() -> None:
    with pytest.raises(Misconfigured, match=r"There are: .*clio, .*tryton"):
        registry.load("xyzzy")


def test_another_package_adds_a_connector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "acme", "acme = acme_connector:Acme")
    monkeypatch.syspath_prepend(tmp_path)
    assert "acme" in registry.names()
    assert registry.spec("acme").title == "Acme"


@pytest.mark.parametrize("taken", ["acme", "clio"])
def test_a_name_is_given_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken: str) -> None:
    install(tmp_path / "a", "acme", "acme = acme_connector:Acme")
    install(tmp_path / "b", "other", f"{taken} = other_connector:Acme")
    monkeypatch.syspath_prepend(tmp_path / "a")
    monkeypatch.syspath_prepend(tmp_path / "b")
    with pytest.raises(Misconfigured, match=f"Two connectors are named '{taken}'"):
        registry.names()


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("broken = no_such_module_anywhere:Acme", "cannot be loaded"),
        ("broken = broken_connector:Missing", "cannot be loaded"),
        ("broken = broken_connector:NotOne", "is not a connector"),
        ("broken = broken_connector:Acme", "is not a connector named 'broken'"),
    ],
)
def test_a_broken_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, says: str) -> None:
    install(tmp_path, "broken", line)
    monkeypatch.syspath_prepend(tmp_path)
    assert "broken" in registry.names()  # a list of names needs no connector to be whole
    with pytest.raises(Misconfigured, match=says) as caught:
        registry.load("broken")
    assert caught.value.remedy


def test_listing_imports_no_connector() -> None:
    code = (
        "import sys; from connectors import registry; registry.names();"
        "print(sorted(name for name in sys.modules if name.startswith('connectors.')))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout
    assert shown.strip() == "['connectors.contract', 'connectors.errors', 'connectors.registry']"
