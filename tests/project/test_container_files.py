"""The container files agree with the service: they were linted, never run here, so what can be compared is compared."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from syncd.config import VARIABLES, load_settings, write_firm_template
from syncd.vault import new_key

ROOT = Path(__file__).parents[2]
TOOLS = Path(sys.executable).parent
DOCKERFILE = (ROOT / "docker" / "Dockerfile").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
ROLES = ("web", "worker", "sweeper")


def test_hadolint_finds_nothing() -> None:
    subprocess.run([TOOLS / "hadolint", ROOT / "docker" / "Dockerfile"], check=True)


def test_compose_follows_its_schema() -> None:
    schema = ["--builtin-schema", "vendor.compose-spec"]
    subprocess.run([TOOLS / "check-jsonschema", *schema, ROOT / "docker" / "compose.yaml"], check=True)


def test_the_image_runs_the_same_entry_point_as_everything_else_and_not_as_root() -> None:
    (script,) = PROJECT["project"]["scripts"]
    assert f'ENTRYPOINT ["{script}"]' in DOCKERFILE
    (user,) = re.findall(r"^USER (\S+)$", DOCKERFILE, re.MULTILINE)
    assert int(user) >= 1000
    (version,) = re.findall(r"^FROM python:(\d+\.\d+)-slim$", DOCKERFILE, re.MULTILINE)
    assert tuple(map(int, version.split("."))) >= (3, 11)


def test_the_image_holds_every_package_and_its_build_sees_nothing_else() -> None:
    packages = {name.removesuffix("*") for name in PROJECT["tool"]["setuptools"]["packages"]["find"]["include"]}
    copied = {line.split()[1] for line in DOCKERFILE.splitlines() if line.startswith("COPY") and "." not in line}
    assert copied == packages
    allowed = (ROOT / "docker" / "Dockerfile.dockerignore").read_text().split("\n")
    files = {"pyproject.toml", "constraints.txt", "README.md"}
    assert "*" in allowed
    assert {line[1:] for line in allowed if line.startswith("!")} == packages | files


def test_every_variable_set_for_the_service_is_one_that_it_reads() -> None:
    read = {*VARIABLES, *(f"{name}_FILE" for name, secret in VARIABLES.items() if secret)}
    set_in_image = set(re.findall(r"\b(SYNCD_[A-Z_]+)=", DOCKERFILE))
    assert set_in_image
    assert set_in_image <= read
    for role in ROLES:
        assert set(COMPOSE["services"][role]["environment"]) <= read


@pytest.mark.parametrize("role", ROLES)
def test_settings_load_from_what_compose_gives(role: str, tmp_path: Path) -> None:
    service = COMPOSE["services"][role]
    env = dict(service["environment"])
    for name in service["secrets"]:
        value = new_key() if name == "key" else "p@ss/word"
        (tmp_path / name).write_text(f"{value}\n")
    for variable, value in env.items():
        if str(value).startswith("/run/secrets/"):
            secret = value.removeprefix("/run/secrets/")
            assert secret in COMPOSE["secrets"]
            env[variable] = str(tmp_path / secret)
    write_firm_template(tmp_path, "Smith", with_key=False)
    settings = load_settings(tmp_path, env)
    assert settings.database_url == "postgresql+psycopg://syncd:p%40ss%2Fword@postgres:5432/syncd"
    assert settings.redis_url == "redis://:p%40ss%2Fword@valkey:6379/0"
    assert settings.firm.listen.host == "0.0.0.0"
    assert settings.log_form == "json"


def test_no_secret_stands_in_the_compose_file() -> None:
    text = (ROOT / "docker" / "compose.yaml").read_text()
    assert not re.findall(r"(?m)^\s*[A-Z_]*(?:PASSWORD|KEY|SECRET|TOKEN)\s*[:=]", text)
    assert {name: each["file"] for name, each in COMPOSE["secrets"].items()} == {
        name: f"./secrets/{name}" for name in ("key", "database_password", "redis_password")
    }
    assert "docker/secrets/" in (ROOT / ".gitignore").read_text()


def test_only_the_console_has_a_port_and_only_on_this_machine() -> None:
    ports = {name: service["ports"] for name, service in COMPOSE["services"].items() if "ports" in service}
    assert ports == {"web": ["127.0.0.1:8620:8620"]}
    for name in ("postgres", "valkey"):
        assert COMPOSE["services"][name]["networks"] == ["inside"]
    assert COMPOSE["networks"]["inside"] == {"internal": True}


def test_the_health_check_asks_an_address_that_the_console_serves() -> None:
    (asked,) = re.findall(
        r"http://127\.0\.0\.1:8620(/\w+)", " ".join(COMPOSE["services"]["web"]["healthcheck"]["test"])
    )
    assert f'"{asked}"' in (ROOT / "syncd" / "web" / "app.py").read_text()


def test_each_service_runs_a_command_that_the_program_has() -> None:
    shown = subprocess.run([TOOLS / "syncd", "--help"], capture_output=True, text=True, check=True).stdout
    for role in (*ROLES, "up"):
        assert re.search(rf"\b{role}\b", shown), role
    assert [COMPOSE["services"][role]["command"] for role in ROLES] == [[role] for role in ROLES]
    assert 'CMD ["up"]' in DOCKERFILE
