"""Settings: all mistakes at once, each with its place and the nearest right name, and no secret in any of it."""

from __future__ import annotations

import os
import re
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

import connectors.contract
from syncd.config import (
    CLASSES,
    NEVER_FLOWS,
    REGIONS,
    ZONES,
    Firm,
    Listen,
    Settings,
    SettingsError,
    load_settings,
    masked_url,
    write_firm_template,
    write_key,
)
from syncd.core.gate import SHIPPED_MATRIX
from syncd.core.settle import Rule
from syncd.vault import new_key, parse_key


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home as `syncd init` makes it."""
    write_firm_template(tmp_path, "Smith & Partners")
    return tmp_path


def firm_of(home: Path, text: str) -> Firm:
    (home / "firm.yaml").write_text(text, encoding="utf-8")
    return load_settings(home, {}).firm


def mistakes_of(home: Path, env: dict[str, str] | None = None, text: str | None = None) -> list[str]:
    """Each mistake as one line, with the home folder's own path left out."""
    if text is not None:
        (home / "firm.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        load_settings(home, env or {})
    return [str(each).replace(f"{home}/", "") for each in caught.value.mistakes]


# --- what init makes is what a firm starts with ---


def test_the_template_holds_the_defaults(home: Path) -> None:
    settings = load_settings(home, {})
    assert settings.firm == Firm(name="Smith & Partners")
    assert settings.database_url == f"sqlite:///{home}/syncd.db"
    assert settings.redis_url is None
    assert settings.firm.matrix == SHIPPED_MATRIX


def test_every_commented_line_of_the_template_is_right_once_uncommented(home: Path) -> None:
    lines = (home / "firm.yaml").read_text().splitlines()
    settings_only = [line.removeprefix("# ") if _is_setting(line) else line for line in lines]
    firm = firm_of(home, "\n".join(settings_only))
    assert firm.authority == ("clio", "outlook")
    assert firm.rules["person.family_name"] == Rule(by="authority", authority=("clio",), first=("clio",))
    assert firm.matrix["marketing"] == {"public", "contact", "business"}
    assert firm.poll_s == 60


def _is_setting(line: str) -> bool:
    return re.match(r"#   |# [a-z_]+:( |$)", line) is not None


@given(st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=60))
def test_any_firm_name_survives_the_template(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    home = tmp_path_factory.mktemp("firm")
    write_firm_template(home, name)
    assert load_settings(home, {}).firm.name == name


def test_neither_key_nor_firm_is_ever_replaced(home: Path) -> None:
    before = (home / "key").read_text(), (home / "firm.yaml").read_text()
    with pytest.raises(FileExistsError):
        write_key(home)
    with pytest.raises(SettingsError, match="is there already"):
        write_firm_template(home, "Other")
    (home / "firm.yaml").unlink()
    write_firm_template(home, "Smith & Partners")
    assert ((home / "key").read_text(), (home / "firm.yaml").read_text()) == before


def test_no_key_is_made_where_one_is_given(tmp_path: Path) -> None:
    write_firm_template(tmp_path, "Smith", with_key=False)
    assert not (tmp_path / "key").exists()
    assert load_settings(tmp_path, {"SYNCD_KEY": new_key()}).firm.name == "Smith"


def test_a_home_that_cannot_be_made_is_told_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="cannot be made: Not a directory"):
        write_firm_template(tmp_path / "file" / "home", "Smith")


def test_the_key_is_readable_by_its_owner_alone(home: Path) -> None:
    assert stat.S_IMODE((home / "key").stat().st_mode) == 0o600
    (home / "key").chmod(0o640)
    assert mistakes_of(home) == ["key: others can read the key (mode 640); run: chmod 600 key"]


def test_a_home_that_was_never_made_says_what_to_run(tmp_path: Path) -> None:
    assert mistakes_of(tmp_path) == [
        "key: there is no key; run `syncd init`, or set SYNCD_KEY_FILE",
        "firm.yaml: there is no such file; run `syncd init`",
    ]


# --- the firm's file ---


def test_a_full_file_is_read(home: Path) -> None:
    firm = firm_of(
        home,
        """\
name: "Müller: & Söhne"
region: NO
authority: [clio, quickbooks]
rules:
  person.title: {by: latest, tolerance_s: 2.5}
  person.family_name: {by: authority}
  organisation.name: {by: ask, authority: [quickbooks]}
poll_s: 300
workers: 4
listen: "[::1]:9000"
matrix:
  mail: []
deletions: cascade
""",
    )
    assert firm.name == "Müller: & Söhne"
    assert firm.region == "NO"  # YAML 1.1 would make this "false"
    both = ("clio", "quickbooks")
    assert firm.rules == {
        "person.title": Rule(by="latest", authority=both, first=both, tolerance_s=2.5),
        "person.family_name": Rule(by="authority", authority=both, first=both),
        "organisation.name": Rule(by="ask", authority=("quickbooks",), first=("quickbooks",)),
    }
    assert (firm.poll_s, firm.workers, firm.deletions) == (300, 4, "cascade")
    assert firm.listen == Listen("::1", 9000)
    assert str(firm.listen) == "[::1]:9000"
    assert firm.matrix == {**SHIPPED_MATRIX, "mail": frozenset()}


def test_all_mistakes_come_at_once_each_with_its_line(home: Path) -> None:
    found = mistakes_of(
        home,
        text="""\
nam: Smith
region: UK
authority: [clio, Outlook, clio]
rules:
  person.title: {by: lastest}
  person.phone: {by: latest, tolerance: 3}
  person.titel: {by: ask}
  person.email: latest
poll_s: yes
workers: 65
listen: localhost
matrix:
  marketting: [public]
  marketing: [trust, pubic]
  mail: public
deletions: [unlink]
poll_s: 60
""",
    )
    assert found == [
        'firm.yaml:1: unknown setting "nam"; did you mean name?',
        "firm.yaml:1: expected `name: …`, the firm's name; found none",
        'firm.yaml:2: expected a country\'s two capitals (ISO 3166: US, GB, CA …), found "UK"; did you mean "GB"?',
        'firm.yaml:3: expected a connection\'s name (small letters, digits, - and _), found "Outlook"',
        'firm.yaml:3: "clio" is listed twice',
        'firm.yaml:5: expected one of latest, authority, ask; found "lastest"; did you mean latest?',
        'firm.yaml:6: unknown part of a rule "tolerance"; did you mean tolerance_s?',
        'firm.yaml:7: expected a field such as person.title, found "person.titel"; did you mean person.title?',
        'firm.yaml:8: expected `name: value` lines, found "latest"',
        'firm.yaml:9: expected a whole number from 1 to 86400, found "yes"',
        'firm.yaml:10: expected a whole number from 1 to 64, found "65"',
        'firm.yaml:11: expected host:port such as 127.0.0.1:8620, found "localhost"',
        'firm.yaml:13: unknown zone "marketting"; did you mean marketing?',
        'firm.yaml:14: "trust" flows into no zone, and no setting allows it; expected public, contact, business, '
        "financial, narrative, identity_document",
        "firm.yaml:14: expected one of public, contact, business, financial, narrative, identity_document; "
        'found "pubic"; did you mean public?',
        'firm.yaml:15: expected a list, found "public"',
        "firm.yaml:16: expected one value, found a list",
        'firm.yaml:17: setting "poll_s" is given twice; first on line 9',
    ]


def test_a_rule_by_authority_needs_one(home: Path) -> None:
    text = "name: A\nrules:\n  person.title: {by: authority}\n"
    assert mistakes_of(home, text=text) == [
        "firm.yaml:3: `by: authority` needs an order; expected `authority: […]` here or for the firm"
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "firm.yaml:1: the file is empty; expected at least `name: …`"),
        ("# only a comment\n", "firm.yaml:1: the file is empty; expected at least `name: …`"),
        ("- a\n- b\n", "firm.yaml:1: expected `name: value` lines, found a list"),
        ("Smith", 'firm.yaml:1: expected `name: value` lines, found "Smith"'),
        ("name: A\nregion: [US\n", "firm.yaml:3: this is not YAML: expected ',' or ']', but got '<stream end>'"),
        ("name: A\n  region: US\n", "firm.yaml:2: this is not YAML: mapping values are not allowed here"),
        ("name: A\n---\nname: B\n", "firm.yaml:2: this is not YAML: but found another document"),
        ("name: ''\n", "firm.yaml:1: expected the firm's name on one line (1 to 200 characters), found \"\""),
        ("name: A\n? [a]\n: 1\n", "firm.yaml:2: expected the name of a setting, found a list"),
        ("name: A\ntime_zone: America/New_Yrok\n", "firm.yaml:2: expected a time zone such as America/New_York, "
         'found "America/New_Yrok"; did you mean America/New_York?'),
        ("name: A\nlisten: 0.0.0.0:99999\n", "firm.yaml:2: expected host:port such as 127.0.0.1:8620, "
         'found "0.0.0.0:99999"'),
    ],
)  # fmt: skip
def test_a_file_that_is_no_settings_file(home: Path, text: str, expected: str) -> None:
    assert mistakes_of(home, text=text) == [expected]


def test_bytes_that_are_no_text(home: Path) -> None:
    (home / "firm.yaml").write_bytes(b"name: \xff\xfe\x00")
    assert mistakes_of(home) == ["firm.yaml:1: this is not YAML text in UTF-8"]


def test_a_file_nested_without_end(home: Path) -> None:
    (found,) = mistakes_of(home, text="name: " + "[" * 100_000)
    assert found == "firm.yaml:1: nested too deep"


def test_a_mistake_cannot_paint_the_terminal(home: Path) -> None:
    (found,) = mistakes_of(home, text='name: A\nregion: "\\e[31mUS\\n"\n')
    assert found.isprintable()


# --- the environment ---


def with_env(home: Path, **env: str) -> Settings:
    return load_settings(home, env)


def test_a_slip_in_a_variable_is_not_taken_for_silence(home: Path) -> None:
    assert mistakes_of(home, {"SYNCD_DATABSE_URL": "postgresql://x/y"}) == [
        "SYNCD_DATABSE_URL: unknown variable; did you mean SYNCD_DATABASE_URL?"
    ]


def test_variables_that_others_read_are_left_alone(home: Path) -> None:
    assert with_env(home, SYNCD_TEST_POSTGRES_URL="x", SYNCD_VENDOR_FACTS="y", SYNCD_SECRET_TOKEN="z").firm.name


@pytest.mark.parametrize(
    ("given_url", "url"),
    [
        ("postgresql://db.example/syncd", "postgresql+psycopg://db.example/syncd"),
        ("postgres://u:p@db.example:5433/syncd", "postgresql+psycopg://u:p@db.example:5433/syncd"),
        ("postgresql+psycopg://u@db.example/syncd", "postgresql+psycopg://u@db.example/syncd"),
        ("postgresql://u@/syncd?host=/run/pg", "postgresql+psycopg://u@/syncd?host=/run/pg"),
        ("sqlite:////var/lib/syncd/a.db", "sqlite:////var/lib/syncd/a.db"),
    ],
)
def test_database_addresses_are_made_ready_for_the_driver(home: Path, given_url: str, url: str) -> None:
    assert with_env(home, SYNCD_DATABASE_URL=given_url).database_url == url


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("mysql://u:hunter2@h/db", "found mysql://u:***@h/db"),
        ("postgrsql://u:hunter2@h/db", "did you mean postgresql?"),
        ("postgresql://u:hunter2@h", "which names no database"),
        ("postgresql://u:hunter2@h:port/db", "expected sqlite"),
        ("sqlite:///relative.db", "which names no absolute path"),
        ("sqlite://", "which names no absolute path"),
        ("u:hunter2@h/db", "expected sqlite"),
        ("hunter2@h", "expected sqlite"),
        ("host=h password=hunter2", "expected sqlite"),
        ("postgresql://u:hunter2@[h/db", "expected sqlite"),
    ],
)
def test_a_wrong_database_address_is_told_without_its_password(home: Path, url: str, reason: str) -> None:
    (found,) = mistakes_of(home, {"SYNCD_DATABASE_URL": url})
    assert found.startswith("SYNCD_DATABASE_URL: ")
    assert reason in found
    assert "hunter2" not in found


@pytest.mark.parametrize("url", ["redis://h:6379/0", "rediss://:p@h/1", "unix:///run/r.sock?db=2"])
def test_redis_addresses_pass_as_they_are(home: Path, url: str) -> None:
    assert with_env(home, SYNCD_REDIS_URL=url).redis_url == url


@pytest.mark.parametrize(
    "url", ["redis:6379:hunter2@x", "http://x:hunter2@y", "redis://:hunter2@h:six", "hunter2@h:6379", "unix://"]
)
def test_a_wrong_redis_address_is_told_without_its_password(home: Path, url: str) -> None:
    (found,) = mistakes_of(home, {"SYNCD_REDIS_URL": url})
    assert found.startswith("SYNCD_REDIS_URL: expected redis://host:6379/0")
    assert "hunter2" not in found


def test_passwords_may_come_by_themselves_and_are_quoted(home: Path, tmp_path: Path) -> None:
    secret = tmp_path / "pw"
    secret.write_text("p@ss/w:rd\n")
    settings = with_env(
        home,
        SYNCD_DATABASE_URL="postgresql://u@db/syncd",
        SYNCD_DATABASE_PASSWORD_FILE=str(secret),
        SYNCD_REDIS_URL="redis://cache:6379/0",
        SYNCD_REDIS_PASSWORD="simple",
    )
    assert settings.database_url == "postgresql+psycopg://u:p%40ss%2Fw%3Ard@db/syncd"
    assert settings.redis_url == "redis://:simple@cache:6379/0"
    assert "p@ss" not in repr(settings)
    assert "simple" not in repr(settings)


def test_passwords_in_two_places_or_in_none_are_mistakes(home: Path) -> None:
    assert mistakes_of(home, {"SYNCD_DATABASE_URL": "postgresql://u:a@db/x", "SYNCD_DATABASE_PASSWORD": "b"}) == [
        "SYNCD_DATABASE_PASSWORD: SYNCD_DATABASE_URL already holds a password; give it in one place"
    ]
    assert mistakes_of(home, {"SYNCD_DATABASE_PASSWORD": "b", "SYNCD_REDIS_PASSWORD": "c"}) == [
        "SYNCD_DATABASE_PASSWORD: a password without SYNCD_DATABASE_URL; the default database has none",
        "SYNCD_REDIS_PASSWORD: a password without SYNCD_REDIS_URL; the service's own server needs none",
    ]


def test_the_key_may_come_from_three_places(home: Path, tmp_path: Path) -> None:
    text = new_key()
    path = tmp_path / "elsewhere"
    path.write_text(text)
    assert with_env(home, SYNCD_KEY=text).key == parse_key(text)
    assert with_env(home, SYNCD_KEY_FILE=str(path)).key == parse_key(text)
    assert with_env(home).key == parse_key((home / "key").read_text())
    assert mistakes_of(home, {"SYNCD_KEY": text, "SYNCD_KEY_FILE": str(path)}) == [
        "SYNCD_KEY: set together with SYNCD_KEY_FILE; set one of them"
    ]


def test_a_named_key_that_is_missing_is_never_replaced_by_the_homes_own(home: Path) -> None:
    assert mistakes_of(home, {"SYNCD_KEY_FILE": "/nonexistent/key"}) == [
        "SYNCD_KEY_FILE: cannot read /nonexistent/key: No such file or directory"
    ]


def test_a_typed_key_is_refused_without_repeating_it(home: Path) -> None:
    (found,) = mistakes_of(home, {"SYNCD_KEY": "correct horse battery"})
    assert found.startswith("SYNCD_KEY: expected 32 random bytes")
    assert "horse" not in found


def test_old_keys_open_what_they_sealed(home: Path) -> None:
    first, second = new_key(), new_key()
    settings = with_env(home, SYNCD_OLD_KEYS=f"{first}, {second}\n")
    assert settings.old_keys == (parse_key(first), parse_key(second))
    blob = Settings(home, "", None, parse_key(first), (), settings.firm).vault().seal(b"x", "c")
    assert settings.vault().open(blob, "c") == b"x"
    (found,) = mistakes_of(home, {"SYNCD_OLD_KEYS": f"{first},secretive"})
    assert found.startswith("SYNCD_OLD_KEYS: key 2: ")
    assert "secretive" not in found


def test_the_environment_overrides_the_file_for_what_a_container_sets(home: Path) -> None:
    settings = with_env(home, SYNCD_LISTEN="0.0.0.0:80", SYNCD_WORKERS="8", SYNCD_LOG="json", SYNCD_LOG_LEVEL="debug")
    assert settings.firm.listen == Listen("0.0.0.0", 80)
    assert settings.firm.workers == 8
    assert (settings.log_form, settings.log_level) == ("json", "debug")
    assert mistakes_of(home, {"SYNCD_WORKERS": "many", "SYNCD_LOG": "xml"}) == [
        'SYNCD_WORKERS: expected a whole number from 1 to 64, found "many"',
        'SYNCD_LOG: expected one of auto, json, human; found "xml"',
    ]


def test_home_comes_from_the_argument_the_variable_or_the_users_own_folder(home: Path, tmp_path: Path) -> None:
    assert load_settings(None, {"SYNCD_HOME": str(home)}).home == home
    user = tmp_path / "user"
    write_firm_template(user / ".syncd", "B")
    assert load_settings(None, {"HOME": str(user)}).home == user / ".syncd"
    assert load_settings(home, {"SYNCD_HOME": str(user)}).home == home


def test_no_secret_shows_in_settings(home: Path) -> None:
    settings = with_env(home, SYNCD_DATABASE_URL="postgresql://u:hunter2@db/x", SYNCD_REDIS_URL="redis://:hunter3@r/0")
    shown = repr(settings) + str(settings)
    assert "hunter" not in shown
    assert repr(settings.key)[2:-1] not in shown


@given(st.text(max_size=80))
def test_any_text_as_an_address_is_masked_or_shown_without_failing(url: str) -> None:
    assert isinstance(masked_url(url), str)


@given(st.from_regex(r"[A-Za-z0-9!$&*+,;=~._-]{6,20}", fullmatch=True), st.sampled_from(["postgresql", "redis", "x"]))
def test_a_password_in_an_address_is_never_shown(password: str, scheme: str) -> None:
    secret = f"Q{password}Q"
    for url in (
        f"{scheme}://user:{secret}@host/db",
        f"{scheme}://:{secret}@host",
        f"{scheme}://host/db?password={secret}",
        f"{scheme}:user:{secret}@host",
        f"user:{secret}@host",
    ):
        assert secret not in masked_url(url)


# --- the words used here are the words used elsewhere ---


def test_zones_are_those_of_the_contract_and_the_gate() -> None:
    assert set(ZONES) == set(get_args(get_type_hints(connectors.contract.Spec, vars(connectors.contract))["zone"]))


def test_no_row_of_the_shipped_matrix_holds_what_never_flows() -> None:
    for zone, row in SHIPPED_MATRIX.items():
        assert row <= set(CLASSES), zone
        assert not row & set(NEVER_FLOWS), zone


def test_regions_are_iso_3166() -> None:
    assert len(REGIONS) == 249
    table = Path("/usr/share/zoneinfo/iso3166.tab")
    if table.exists():
        codes = {line.split("\t")[0] for line in table.read_text().splitlines() if not line.startswith("#")}
        assert codes == REGIONS


def test_unreadable_firm_file_is_told_in_words(home: Path) -> None:
    (home / "firm.yaml").unlink()
    (home / "firm.yaml").mkdir()
    assert mistakes_of(home) == [f"firm.yaml: cannot be read: {os.strerror(21)}"]


def test_the_firms_calendar_is_that_of_its_zone(home: Path) -> None:
    (home / "firm.yaml").write_text("name: A\n")
    assert load_settings(home, {}).firm.zone is UTC
    (home / "firm.yaml").write_text("name: A\ntime_zone: Pacific/Auckland\n")
    eve = datetime(2026, 12, 31, 11, 0, tzinfo=UTC)
    assert eve.astimezone(load_settings(home, {}).firm.zone).year == 2027
