"""Faults put into the compiler on purpose: the laws have to find every one of them.

Each is one replacement in a copy of the package, judged in a process of its own by tests/mappings/hold.py.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

MUTANTS = {
    "drop a put": ("writing", "draft.write(path, encoded)", "pass"),
    "swap a path": ("writing", "_set(held, path[-1], value)", "_set(held, 'elsewhere', value)"),
    "write without comparing": ("writing", "if name in values and not same(field, held.get(name), values[name]):", "if name in values:"),
    "forget a unit on the way out": ("writing", "round(Decimal(value) * scale)", "round(Decimal(value))"),
    "forget a unit on the way in": ("reading", "Decimal(_decimal(value, field)) / scale", "Decimal(_decimal(value, field))"),
    "forget the digits": ("writing", "format(round(Decimal(value), decimals), 'f')", "format(round(Decimal(value), 0), 'f')"),
    "forget to negate": ("writing", 'case "bool" if line.negate:', 'case "bool" if False:'),
    "forget to cut": ("writing", "else cut_text(value, cut)", "else value"),
    "empty what takes no empty value": ("writing", "and (clearable or encoded is not None)", ""),
    "forget what stands for empty": ("reading", 'f"None if v == {line.empty!r} else v or None"', '"v or None"'),
    "read another spelling only": ("reading", "e = {words}.get(v)", "e = {words}.get(str(v).lower())"),
    "lose labels of new entries": ("writing", "        self._write_label(entry, item.get(\"label\"))\n        for name, allowed", "        for name, allowed"),
    "lose entries of others": ("writing", "if key is None:\n                yield entry", "if key is None:\n                continue"),
    "leave the primary where it is": ("writing", "self._choose(entries, chosen_key)", "pass"),
    "match entries by position": ("writing", "return self.value_key(value) if isinstance(value, str) and value else None", "return value or None"),
    "slots without labels": ("writing", "choices = ([own] if own is not None else self.others)", "choices = []"),
    "write a slot over another": ("writing", "n not in taken and n not in fixed)", "n not in fixed)"),
    "forget the id's object": ("writing", "written if wrap is None else {wrap: written}", "written"),
    "write any connector's reference": ("writing", "if not token.startswith(prefix):\n            return NO_ROOM", "if False:\n            return NO_ROOM"),
    "write names that do not come apart": ("splitting", "if self.split(text) == clean:", "if True:"),
    "skip a transform": ("writing", "return _through(line.transform)", "return lambda value: value"),
    "write where the line is silent": ("writing", "if speaks(fresh.now if draft.is_new else draft.before):", "if True:"),
    "read where the line is silent": ("reading", 'text.add("if u is M or not u:")', 'text.add("if True:")'),
    "trust a name that is astray": ("reading", "if found is not MISSING and str(found) != text:", "if False:"),
    "forget the pin": ("writing", "str(within(entry, step.path)) == text), MISSING)", "within(entry, step.path) is not MISSING), MISSING)"),
    "write any currency": ("writing", "theirs.upper() != ours.upper()", "False"),
    "forget what new records need": ("writing", "self._complete(draft)", "pass"),
    "edit the record itself": ("writing", "copy.deepcopy(value)", "value"),
    "name what does not differ": ("writing", "if name not in self.before or self.before[name] != value", "if True"),
    "write countries as typed": ("writing", "return countries.country_code(value) or NO_ROOM", "return value + '.'"),
}  # fmt: skip


def judged(folder: Path) -> subprocess.CompletedProcess[str]:
    """What the laws say of the `mappings` package in the folder."""
    return subprocess.run(
        [sys.executable, "-m", "tests.mappings.hold"],
        cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip


def copied(folder: Path) -> Path:
    shutil.copytree(ROOT / "mappings", folder / "mappings", ignore=shutil.ignore_patterns("__pycache__"))
    return folder / "mappings"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_laws_find_nothing_in_the_package_itself(tmp_path: Path) -> None:
    copied(tmp_path)
    done = judged(tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", MUTANTS)
def test_a_fault_in_the_compiler_breaks_a_law(name: str, tmp_path: Path) -> None:
    module, old, new = MUTANTS[name]
    path = copied(tmp_path) / f"{module}.py"
    text = path.read_text(encoding="utf-8")
    assert old in text or old.replace("'", '"') in text, f"the compiler no longer says {old!r}; choose another fault"
    old = old if old in text else old.replace("'", '"')
    path.write_text(text.replace(old, new), encoding="utf-8")
    done = judged(tmp_path)
    assert done.returncode == 1, f"no law finds it: {done.stdout}{done.stderr}"
    assert done.stdout.startswith(("acme: ", "clio: ")), done.stderr
