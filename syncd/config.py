"""What the service runs on: a home folder, a few environment variables, and the firm's own file.

`load_settings` reads all three, checks everything, and either gives one immutable Settings or raises one
SettingsError that lists every mistake with its place, what was found, what was expected and the nearest right
name. Nothing starts on half-read settings. Connections are not here: they live in the database, where the console
and `syncd connect` edit them.
"""

from __future__ import annotations

import contextlib
import difflib
import json
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, tzinfo
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal, TypeVar, cast
from urllib.parse import quote, urlsplit, urlunsplit
from zoneinfo import ZoneInfo, available_timezones

import yaml

from syncd.core.gate import SHIPPED_MATRIX
from syncd.core.settle import Rule
from syncd.vault import Vault, VaultError, new_key, parse_key

FIRM_FILE: Final = "firm.yaml"
KEY_FILE: Final = "key"
FIRM_BYTES_MAX: Final = 1_000_000
ZONES: Final = tuple(SHIPPED_MATRIX)
CLASSES: Final = ("public", "contact", "business", "financial", "narrative", "identity_document")
NEVER_FLOWS: Final = ("trust", "consent")  # no row of the matrix may name these two classes
CONNECTION_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")

# ISO 3166-1, as of 2024.
REGIONS: Final = frozenset(
    """AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ
    CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR
    GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO
    JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR
    MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO
    RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV
    TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW""".split()
)
_REGION_SLIPS: Final = {"UK": "GB", "USA": "US", "EN": "GB", "ENGLAND": "GB", "CAN": "CA", "AUS": "AU"}

Deletions = Literal["unlink", "cascade"]
LogForm = Literal["auto", "json", "human"]
LogLevel = Literal["debug", "info", "warning", "error"]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Mistake:
    """One wrong setting. `where` is `path:line` for a file, or the variable's name."""

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


class SettingsError(Exception):
    """Everything that is wrong with the settings, at once; the message is made for a terminal and holds no secret."""

    def __init__(self, mistakes: Iterable[Mistake]) -> None:
        self.mistakes = tuple(mistakes)
        count = len(self.mistakes)
        title = "One setting is wrong" if count == 1 else f"{count} settings are wrong"
        super().__init__("\n".join([f"{title}; nothing was started.", *(f"  {each}" for each in self.mistakes)]))


@dataclass(frozen=True, slots=True)
class Listen:
    """Where the console answers. Port 0 takes any free port."""

    host: str = "127.0.0.1"
    port: int = 8620

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Firm:
    """The firm's own file, `firm.yaml`.

    region     ISO 3166 country that phone numbers and addresses without one belong to
    time_zone  IANA name of the zone by whose calendar the firm's year begins
    authority  connection names; whose value wins when two systems meet for the first time
    rules      canonical field ("person.title") -> Rule, with the firm's authority filled in where a rule names none
    poll_s     seconds between two looks at a vendor without webhooks
    matrix     zone -> field classes that may flow into it: the shipped matrix with the firm's rows in place
    deletions  unlink: a record deleted in one system stays in the others; cascade: it is deleted there too
    """

    name: str
    region: str = "US"
    time_zone: str = "UTC"
    authority: tuple[str, ...] = ()
    rules: Mapping[str, Rule] = field(default_factory=lambda: MappingProxyType({}))
    poll_s: int = 60
    workers: int = 2
    listen: Listen = field(default_factory=Listen)
    matrix: Mapping[str, frozenset[str]] = field(default_factory=lambda: SHIPPED_MATRIX)
    deletions: Deletions = "unlink"

    @property
    def zone(self) -> tzinfo:
        return UTC if self.time_zone == "UTC" else ZoneInfo(self.time_zone)


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings, checked. Secrets are kept out of repr.

    database_url  for SQLAlchemy: sqlite:///ABSOLUTE or postgresql+psycopg://…
    redis_url     None: the service runs its own server
    key, old_keys 32 bytes each, for `Vault`; the old ones only open
    """

    home: Path
    database_url: str = field(repr=False)
    redis_url: str | None = field(repr=False)
    key: bytes = field(repr=False)
    old_keys: tuple[bytes, ...] = field(repr=False)
    firm: Firm
    log_form: LogForm = "auto"
    log_level: LogLevel = "info"

    def vault(self) -> Vault:
        return Vault(self.key, old=self.old_keys)


# --- the environment -------------------------------------------------------------------------------------------

# Every variable that the service reads. Those marked True hold a secret or come from an orchestrator's secret store,
# so `NAME_FILE` (a path whose content is the value) is understood as well.
VARIABLES: Final[Mapping[str, bool]] = MappingProxyType(
    {
        "SYNCD_HOME": False,
        "SYNCD_DATABASE_URL": True,
        "SYNCD_DATABASE_PASSWORD": True,
        "SYNCD_REDIS_URL": True,
        "SYNCD_REDIS_PASSWORD": True,
        "SYNCD_KEY": True,
        "SYNCD_OLD_KEYS": True,
        "SYNCD_LISTEN": False,
        "SYNCD_WORKERS": False,
        "SYNCD_LOG": False,
        "SYNCD_LOG_LEVEL": False,
    }
)
_ACCEPTED: Final = tuple(VARIABLES) + tuple(f"{name}_FILE" for name, secret in VARIABLES.items() if secret)
# SYNCD_SECRET_<setting> is read by `syncd connect`; the others by the tests alone.
_READ_ELSEWHERE: Final = ("SYNCD_SECRET_", "SYNCD_TEST_", "SYNCD_VENDOR_FACTS")


def default_home(env: Mapping[str, str]) -> Path:
    """SYNCD_HOME, else `.syncd` in the user's home."""
    if named := env.get("SYNCD_HOME"):
        return Path(named).expanduser().absolute()
    return Path(env.get("HOME") or "~").expanduser().absolute() / ".syncd"


def load_settings(home: Path | None, env: Mapping[str, str]) -> Settings:
    """Read the environment, the key and the firm's file. Raises SettingsError listing every mistake found."""
    mistakes: list[Mistake] = []
    home = default_home(env) if home is None else home.expanduser().absolute()
    variables = _Environment(env, mistakes)
    database_url = variables.database_url(home)
    redis_url = variables.redis_url()
    key = variables.key(home)
    old_keys = variables.old_keys()
    listen = variables.parsed("SYNCD_LISTEN", _listen)
    workers = variables.parsed("SYNCD_WORKERS", lambda text: _whole(text, 1, 64))
    log_form = variables.parsed("SYNCD_LOG", lambda text: _one_of(text, ("auto", "json", "human")))
    log_level = variables.parsed("SYNCD_LOG_LEVEL", lambda text: _one_of(text, ("debug", "info", "warning", "error")))
    firm = _read_firm(home / FIRM_FILE, mistakes, listen=listen, workers=workers)
    if mistakes or firm is None or key is None:
        raise SettingsError(mistakes)
    return Settings(
        home=home,
        database_url=database_url,
        redis_url=redis_url,
        key=key,
        old_keys=old_keys,
        firm=firm,
        log_form=cast("LogForm", log_form or "auto"),
        log_level=cast("LogLevel", log_level or "info"),
    )


def masked_url(url: str) -> str:
    """The address with its password and every query value hidden: for messages, logs and the status page."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "(unreadable address)"
    if not parts.scheme:  # a bare `user:secret@host` has no scheme and would pass whole
        return "(not an address)" if "@" in url or "=" in url else url
    place = parts.netloc
    if "@" in place:
        user, _, host = place.rpartition("@")
        place = f"{user.partition(':')[0]}:***@{host}" if ":" in user else f"{user}@{host}"
    query = "&".join(f"{each.partition('=')[0]}=***" for each in parts.query.split("&")) if parts.query else ""
    path = "(…)" if "@" in parts.path or ":" in parts.path else parts.path  # redis:6379:secret@host is no address
    return f"{parts.scheme}:{'//' if place or path.startswith('/') else ''}{place}{path}{'?' if query else ''}{query}"


class _Environment:
    """Reads variables and their `_FILE` forms, and writes down what is wrong with them."""

    def __init__(self, env: Mapping[str, str], mistakes: list[Mistake]) -> None:
        self.env = env
        self.mistakes = mistakes
        for name in sorted(env):
            if name.startswith("SYNCD_") and name not in _ACCEPTED and not name.startswith(_READ_ELSEWHERE):
                # A slip in SYNCD_DATABASE_URL would otherwise start an empty SQLite database without a word.
                self.wrong(name, f"unknown variable{_nearest(name, _ACCEPTED)}")

    def wrong(self, name: str, what: str) -> None:
        self.mistakes.append(Mistake(name, what))

    def text(self, name: str) -> tuple[str, str] | None:
        """(the variable that gave it, its value) or None. An empty variable counts as unset, as in a compose file."""
        value, path = self.env.get(name, ""), self.env.get(f"{name}_FILE", "")
        if value and path:
            self.wrong(name, f"set together with {name}_FILE; set one of them")
            return None
        if value:
            return name, value.strip()
        if path and VARIABLES[name]:
            try:
                held = Path(path).read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as failed:
                self.wrong(f"{name}_FILE", f"cannot read {path}: {_plain_reason(failed)}")
                return None
            if held:
                return f"{name}_FILE", held
            self.wrong(f"{name}_FILE", f"{path} is empty")
        return None

    def parsed(self, name: str, read: Callable[[str], T]) -> T | None:
        given = self.text(name)
        if given is None:
            return None
        try:
            return read(given[1])
        except ValueError as wrong:
            self.wrong(given[0], str(wrong))
            return None

    def database_url(self, home: Path) -> str:
        given = self.text("SYNCD_DATABASE_URL")
        password = self.text("SYNCD_DATABASE_PASSWORD")
        if given is None:
            if password:
                self.wrong(password[0], "a password without SYNCD_DATABASE_URL; the default database has none")
            return f"sqlite:///{home / 'syncd.db'}"
        name, url = given
        try:
            parts = urlsplit(url)
            port_is_number = parts.port is None or parts.port > 0
        except ValueError:
            port_is_number, parts = False, urlsplit("")
        expected = "expected sqlite:////absolute/path or postgresql://user@host/database"
        if parts.scheme == "sqlite" and port_is_number and not parts.netloc and not parts.query:
            if password:
                self.wrong(password[0], "SQLite has no password")
            if parts.path.startswith("//") and len(parts.path) > 2:
                return url
            self.wrong(name, f"{expected}; found {masked_url(url)}, which names no absolute path")
            return url
        if parts.scheme in ("postgresql", "postgres", "postgresql+psycopg") and port_is_number:
            if not parts.path.strip("/"):
                self.wrong(name, f"{expected}; found {masked_url(url)}, which names no database")
            return self._with_password(
                name, parts._replace(scheme="postgresql+psycopg").geturl(), password, default="syncd"
            )
        self.wrong(name, f"{expected}; found {masked_url(url)}{_nearest(parts.scheme, ('sqlite', 'postgresql'))}")
        return url

    def redis_url(self) -> str | None:
        given = self.text("SYNCD_REDIS_URL")
        password = self.text("SYNCD_REDIS_PASSWORD")
        if given is None:
            if password:
                self.wrong(password[0], "a password without SYNCD_REDIS_URL; the service's own server needs none")
            return None
        name, url = given
        try:
            parts = urlsplit(url)
            usable = parts.port is None or parts.port > 0
        except ValueError:
            parts, usable = urlsplit(""), False
        complete = bool(parts.path) if parts.scheme == "unix" else bool(parts.netloc)
        if not usable or not complete or parts.scheme not in ("redis", "rediss", "unix"):
            near = _nearest(parts.scheme, ("redis", "rediss", "unix"))
            self.wrong(name, f"expected redis://host:6379/0, rediss://… or unix:///path; found {masked_url(url)}{near}")
            return url
        return self._with_password(name, url, password, default="")

    def _with_password(self, name: str, url: str, password: tuple[str, str] | None, *, default: str) -> str:
        """The address with the password that came by itself. `default` is the user when the address names none."""
        if password is None:
            return url
        parts = urlsplit(url)
        if parts.password is not None:
            self.wrong(password[0], f"{name} already holds a password; give it in one place")
            return url
        user = parts.username if parts.username is not None else default
        place = f"{user}:{quote(password[1], safe='')}@{parts.netloc.rpartition('@')[2]}"
        return urlunsplit(parts._replace(netloc=place))

    def key(self, home: Path) -> bytes | None:
        given = self.text("SYNCD_KEY")
        if given is None:
            if self.env.get("SYNCD_KEY") or self.env.get("SYNCD_KEY_FILE"):
                return None  # set, but wrong: text() has said why, and HOME/key must not be taken instead
            given = self._own_key(home / KEY_FILE)
        if given is None:
            return None
        try:
            return parse_key(given[1])
        except VaultError as wrong:
            self.wrong(given[0], str(wrong))
            return None

    def _own_key(self, path: Path) -> tuple[str, str] | None:
        try:
            mode = path.stat().st_mode
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            self.wrong(str(path), "there is no key; run `syncd init`, or set SYNCD_KEY_FILE")
            return None
        except (OSError, UnicodeDecodeError) as failed:
            self.wrong(str(path), f"cannot read the key: {_plain_reason(failed)}")
            return None
        if os.name == "posix" and mode & 0o077:
            self.wrong(str(path), f"others can read the key (mode {mode & 0o777:03o}); run: chmod 600 {path}")
            return None
        return str(path), text

    def old_keys(self) -> tuple[bytes, ...]:
        given = self.text("SYNCD_OLD_KEYS")
        if given is None:
            return ()
        keys: list[bytes] = []
        for position, text in enumerate(re.split(r"[\s,]+", given[1].strip(" ,\n")), start=1):
            try:
                keys.append(parse_key(text))
            except VaultError as wrong:
                self.wrong(given[0], f"key {position}: {wrong}")
        return tuple(keys)


# --- the firm's file -------------------------------------------------------------------------------------------


def _read_firm(path: Path, mistakes: list[Mistake], *, listen: Listen | None, workers: int | None) -> Firm | None:
    """The firm's file, with what the environment overrides; None when the file is unusable (mistakes say why)."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        mistakes.append(Mistake(str(path), "there is no such file; run `syncd init`"))
        return None
    except OSError as failed:
        mistakes.append(Mistake(str(path), f"cannot be read: {_plain_reason(failed)}"))
        return None
    reader = _FirmReader(path)
    firm = reader.read(data)
    mistakes += (what for _, what in sorted(reader.mistakes, key=lambda found: found[0]))
    if firm is None or reader.mistakes:
        return None
    return replace(firm, workers=workers if workers is not None else firm.workers, listen=listen or firm.listen)


class _FirmReader:
    """Walks YAML nodes, not loaded values: nodes know their line, and `region: NO` stays Norway instead of "false"."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.mistakes: list[tuple[int, Mistake]] = []  # with their line, since keys are not read from top to bottom

    def wrong(self, node: yaml.Node | None, what: str) -> None:
        self.wrong_on(1 if node is None else node.start_mark.line + 1, what)

    def wrong_on(self, line: int, what: str) -> None:
        self.mistakes.append((line, Mistake(f"{self.path}:{line}", what)))

    def read(self, data: bytes) -> Firm | None:
        if len(data) > FIRM_BYTES_MAX:
            self.wrong(None, f"expected a file of at most {FIRM_BYTES_MAX} bytes, found {len(data)}")
            return None
        try:
            root = yaml.compose(data, Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as broken:
            mark = broken.problem_mark or broken.context_mark
            self.wrong_on(1 if mark is None else mark.line + 1, f"this is not YAML: {broken.problem or broken.context}")
            return None
        except (yaml.YAMLError, UnicodeError):
            self.wrong(None, "this is not YAML text in UTF-8")
            return None
        except RecursionError:
            self.wrong(None, "nested too deep")
            return None
        if root is None:
            self.wrong(None, "the file is empty; expected at least `name: …`")
            return None
        return self._firm(root)

    def _firm(self, root: yaml.Node) -> Firm | None:
        authority: tuple[str, ...] = ()
        readers: dict[str, Callable[[yaml.Node], Any]] = {
            "name": self._name,
            "region": self._region,
            "time_zone": self._time_zone,
            "authority": self._connections,
            "rules": lambda node: self._rules(node, authority),
            "poll_s": lambda node: self._scalar(node, lambda text: _whole(text, 1, 86_400)),
            "workers": lambda node: self._scalar(node, lambda text: _whole(text, 1, 64)),
            "listen": lambda node: self._scalar(node, _listen),
            "matrix": self._matrix,
            "deletions": lambda node: self._scalar(node, lambda text: _one_of(text, ("unlink", "cascade"))),
        }
        found = self._mapping(root, tuple(readers), "setting")
        if found is None:
            return None
        if "authority" in found:  # first: the rules fall back on it
            authority = self._connections(found.pop("authority")) or ()
        values = {name: readers[name](node) for name, node in found.items()}
        if "name" not in found:
            self.wrong(root, "expected `name: …`, the firm's name; found none")
        good = {name: value for name, value in values.items() if value is not None}
        return Firm(authority=authority, **good) if "name" in good else None

    def _mapping(self, node: yaml.Node, names: tuple[str, ...] | None, kind: str) -> dict[str, yaml.Node] | None:
        """The entries of a mapping. Unknown (unless names is None) and repeated ones are mistakes and left out."""
        if not isinstance(node, yaml.MappingNode):
            self.wrong(node, f"expected `name: value` lines, found {_shape(node)}")
            return None
        found: dict[str, yaml.Node] = {}
        for key, value in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else None
            if name is None:
                self.wrong(key, f"expected the name of a {kind}, found {_shape(key)}")
            elif names is not None and name not in names:
                self.wrong(key, f"unknown {kind} {_quoted(name)}{_nearest(name, names)}")
            elif name in found:
                self.wrong(
                    key, f"{kind} {_quoted(name)} is given twice; first on line {found[name].start_mark.line + 1}"
                )
            else:
                found[name] = value
        return found

    def _scalar(self, node: yaml.Node, read: Callable[[str], T]) -> T | None:
        if not isinstance(node, yaml.ScalarNode):
            self.wrong(node, f"expected one value, found {_shape(node)}")
            return None
        try:
            return read(node.value)
        except ValueError as wrong:
            self.wrong(node, str(wrong))
            return None

    def _name(self, node: yaml.Node) -> str | None:
        def read(text: str) -> str:
            if not text.strip() or len(text) > 200 or not text.isprintable():
                raise ValueError(f"expected the firm's name on one line (1 to 200 characters), found {_quoted(text)}")
            return text.strip()

        return self._scalar(node, read)

    def _region(self, node: yaml.Node) -> str | None:
        def read(text: str) -> str:
            if text in REGIONS:
                return text
            slip = _REGION_SLIPS.get(text.upper()) or (text.upper() if text.upper() in REGIONS else None)
            near = f"; did you mean {_quoted(slip)}?" if slip else ""
            raise ValueError(f"expected a country's two capitals (ISO 3166: US, GB, CA …), found {_quoted(text)}{near}")

        return self._scalar(node, read)

    def _time_zone(self, node: yaml.Node) -> str | None:
        def read(text: str) -> str:
            known = {"UTC", *available_timezones()}
            if text in known:
                return text
            near = _nearest(text, known)
            raise ValueError(f"expected a time zone such as America/New_York, found {_quoted(text)}{near}")

        return self._scalar(node, read)

    def _list(self, node: yaml.Node, read: Callable[[str], str]) -> tuple[str, ...] | None:
        if not isinstance(node, yaml.SequenceNode):
            self.wrong(node, f"expected a list, found {_shape(node)}")
            return None
        values: list[str] = []
        for item in node.value:
            value = self._scalar(item, read)
            if value in values:
                self.wrong(item, f"{_quoted(value)} is listed twice")
            elif value is not None:
                values.append(value)
        return tuple(values)

    def _connections(self, node: yaml.Node) -> tuple[str, ...] | None:
        def read(text: str) -> str:
            if CONNECTION_NAME.fullmatch(text):
                return text
            raise ValueError(f"expected a connection's name (small letters, digits, - and _), found {_quoted(text)}")

        return self._list(node, read)

    def _rules(self, node: yaml.Node, authority: tuple[str, ...]) -> Mapping[str, Rule] | None:
        entries = self._mapping(node, None, "rule")
        if entries is None:
            return None
        # Imported here: most firms state no rule, and then no process needs the model to read its settings.
        from mappings.canonical import KINDS

        known = [f"{kind.name}.{name}" for kind in KINDS.values() for name in kind.fields]
        rules: dict[str, Rule] = {}
        for name, value in entries.items():
            if name not in known:
                self.wrong(value, f"expected a field such as person.title, found {_quoted(name)}{_meant(name, known)}")
            elif (rule := self._rule(value, authority)) is not None:
                rules[name] = rule
        return MappingProxyType(rules)

    def _rule(self, node: yaml.Node, firm_authority: tuple[str, ...]) -> Rule | None:
        found = self._mapping(node, ("by", "authority", "tolerance_s"), "part of a rule")
        if found is None:
            return None
        if "by" not in found:
            self.wrong(node, "expected `by: latest`, `by: authority` or `by: ask`; found none")
            return None
        by = self._scalar(found["by"], lambda text: _one_of(text, ("latest", "authority", "ask")))
        own = self._connections(found["authority"]) if "authority" in found else ()
        tolerance_s = self._scalar(found["tolerance_s"], _seconds) if "tolerance_s" in found else 5.0
        if by is None or own is None or tolerance_s is None:
            return None
        order = own or firm_authority
        if by == "authority" and not order:
            self.wrong(node, "`by: authority` needs an order; expected `authority: […]` here or for the firm")
            return None
        winner = cast("Literal['latest', 'authority', 'ask']", by)
        return Rule(by=winner, authority=order, first=order, tolerance_s=tolerance_s)

    def _matrix(self, node: yaml.Node) -> Mapping[str, frozenset[str]] | None:
        zones = self._mapping(node, ZONES, "zone")
        if zones is None:
            return None
        rows = {zone: self._list(value, _field_class) for zone, value in zones.items()}
        given = {zone: frozenset(classes) for zone, classes in rows.items() if classes is not None}
        return MappingProxyType({**SHIPPED_MATRIX, **given})


# --- single values: text in, value out, ValueError in words for a terminal --------------------------------------


def _one_of(text: str, choices: tuple[str, ...]) -> str:
    if text in choices:
        return text
    raise ValueError(f"expected one of {', '.join(choices)}; found {_quoted(text)}{_meant(text, choices)}")


def _field_class(text: str) -> str:
    if text in NEVER_FLOWS:
        raise ValueError(f"{_quoted(text)} flows into no zone, and no setting allows it; expected {', '.join(CLASSES)}")
    return _one_of(text, CLASSES)


def _whole(text: str, least: int, most: int) -> int:
    if re.fullmatch(r"[0-9]{1,9}", text) and least <= int(text) <= most:
        return int(text)
    raise ValueError(f"expected a whole number from {least} to {most}, found {_quoted(text)}")


def _seconds(text: str) -> float:
    if re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?", text) and float(text) <= 86_400:
        return float(text)
    raise ValueError(f"expected seconds from 0 to 86400, found {_quoted(text)}")


def _listen(text: str) -> Listen:
    match = re.fullmatch(r"(?:\[(?P<v6>[0-9a-fA-F:.]+)\]|(?P<host>[A-Za-z0-9.-]+)):(?P<port>[0-9]{1,5})", text)
    if match is None or int(match["port"]) > 65_535:
        raise ValueError(f"expected host:port such as 127.0.0.1:8620, found {_quoted(text)}")
    return Listen(host=match["v6"] or match["host"], port=int(match["port"]))


def _quoted(text: str | None) -> str:
    """The value as found, in one short line: control characters shown, not obeyed by the terminal."""
    shown = json.dumps(text or "", ensure_ascii=False)
    return shown if len(shown) <= 80 and shown.isprintable() else json.dumps((text or "")[:60])


def _nearest(name: str, names: Iterable[str]) -> str:
    """The nearest right name; where nothing is near, all of them if they fit in a line."""
    choices = tuple(names)
    shown = f"; expected one of {', '.join(choices)}" if len(choices) <= 12 else ""
    return _meant(name, choices) or shown


def _meant(name: str, choices: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(choices), n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else ""


def _shape(node: yaml.Node) -> str:
    if isinstance(node, yaml.ScalarNode):
        return _quoted(node.value) if node.value else "nothing"
    return "a list" if isinstance(node, yaml.SequenceNode) else "a mapping"


def _plain_reason(failed: OSError | UnicodeDecodeError) -> str:
    if isinstance(failed, UnicodeDecodeError):  # its own text quotes bytes of the file, which may be a secret
        return "it is not UTF-8 text"
    return failed.strerror or type(failed).__name__


# --- made once, by `syncd init` ----------------------------------------------------------------------------------


def write_firm_template(home: Path, name: str, *, with_key: bool = True) -> Path:
    """Make a home: `firm.yaml` with the firm's name and every other setting as a comment, and `key` if there is none.

    with_key  False when SYNCD_KEY or SYNCD_KEY_FILE gives the key. Raises SettingsError when `firm.yaml` exists or the
    folder cannot be written.
    """
    path = home / FIRM_FILE
    try:
        if with_key:
            with contextlib.suppress(FileExistsError):  # of an earlier try that ended between the two files
                write_key(home)
        _write_new(path, _TEMPLATE.replace("@NAME@", json.dumps(name, ensure_ascii=False)), mode=0o640)
    except FileExistsError:
        raise SettingsError([Mistake(str(path), "is there already; edit it, or name another home")]) from None
    except OSError as failed:
        raise SettingsError([Mistake(str(home), f"cannot be made: {_plain_reason(failed)}")]) from failed
    return path


def write_key(home: Path) -> Path:
    """Make `key`, readable by its owner alone. Raises FileExistsError: a key is never replaced by accident."""
    path = home / KEY_FILE
    _write_new(path, new_key() + "\n", mode=0o600)
    return path


def _write_new(path: Path, text: str, *, mode: int) -> None:
    """Create, or fail when it exists; the file never has wider rights than `mode`, not even for an instant."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


_TEMPLATE: Final = """\
# The firm's settings. Lines with # show the defaults. Every line is checked at start.
# docs/operating/settings.md explains them all.
# Connections to systems are not here: add them with `syncd connect add`, or in the console.

name: @NAME@

# Country of phone numbers and addresses that name none (ISO 3166).
# region: US

# Whose value wins when two systems meet for the first time: names of connections, first wins.
# authority: [clio, outlook]

# Who wins later on, field by field: the latest edit, an authority, or a person (ask).
# rules:
#   person.title: {by: latest, tolerance_s: 5}
#   person.family_name: {by: authority, authority: [clio]}
#   organisation.name: {by: ask}

# A record deleted in one system: unlink (stays in the others) or cascade (deleted there too).
# deletions: unlink

# What may flow into a zone, where it shall differ from the default. A zone named here gets exactly the classes named.
# Zones: practice, accounting, mail, documents, marketing, staff.
# Classes: public, contact, business, financial, narrative, identity_document.
# matrix:
#   marketing: [public, contact, business]

# Seconds between two looks at a vendor, worker processes, and where the console answers.
# poll_s: 60
# workers: 2
# listen: 127.0.0.1:8620
"""
