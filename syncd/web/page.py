"""What the status page says, from the numbers: pure values in, a page of plain words out.

Its order is the reader's: is anything wrong, what needs a person and which command handles it, then each system with
how fresh it is and what its last run did. Green is never claimed: "up to date" would mean "checked equal".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from syncd.clock import from_iso

Level = Literal["bad", "attention", "calm"]

# What waits for a person: the word for one and for many, what it means, and the command that handles it.
CONFLICTS = ("conflict", "conflicts", "Two systems say different things and no rule decides.", "syncd conflicts list")
REVIEWS = ("doubtful match", "doubtful matches", "Are these two records the same?", "syncd review list")
ASIDE = (
    "record put aside",
    "records put aside",
    "It could not be read, or a system refused it.",
    "syncd aside list",
)
HELD = ("write held back", "writes held back", "A rule or a limit stopped it.", "syncd plan")

INTENT_WORDS: Mapping[str, str] = {
    "due": "to send",
    "sending": "being sent",
    "unknown": "sent, no answer yet",
    "waiting": "waiting for their time",
    "held": "held back",
    "dead": "put aside",
    "done": "done",
}
NUMBER_WORDS: Mapping[str, str] = {
    "pulled": "read",
    "changed": "changed",
    "unchanged": "unchanged",
    "conflict": "conflict",
    "held": "held",
    "dead": "aside",
}
MODE_WORDS: Mapping[str, str] = {
    "observe": "Observing: reads and plans, writes nothing",
    "live": "Live: reads and writes",
    "stopped": "Stopped",
}


@dataclass(frozen=True, slots=True)
class Instant:
    """A time for people: `ago` in words, `iso` for the tool tip and for programs."""

    iso: str
    ago: str


@dataclass(frozen=True, slots=True)
class Task:
    """Something that needs a person."""

    what: str
    why: str
    command: str


@dataclass(frozen=True, slots=True)
class ResourceRow:
    name: str
    last_pull: Instant | None
    numbers: tuple[tuple[str, int], ...]
    due_intents: int


@dataclass(frozen=True, slots=True)
class ConnectionCard:
    """problem: it stopped and needs a person. troubles: what it tries again by itself."""

    name: str
    connector: str
    mode: str
    mode_words: str
    problem: str
    remedy: str
    troubles: tuple[str, ...]
    rows: tuple[ResourceRow, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """headline and level: the whole in one sentence. troubles: parts of the service that are not well."""

    firm: str
    as_of: Instant
    level: Level
    headline: str
    troubles: tuple[str, ...]
    tasks: tuple[Task, ...]
    connections: tuple[ConnectionCard, ...]
    backlog: tuple[tuple[str, int], ...]
    workers: int | None
    sweeper: Instant | None
    readable: bool
    refresh_s: int


def status_page(status: Mapping[str, Any] | None, health: Mapping[str, Any], now: datetime, *, refresh_s: int) -> Page:
    """The page. status: see syncd/status.py; None when it cannot be read. health: see Checks.all."""
    troubles = tuple(part["problem"] for name in ("database", "redis", "sweeper") if not (part := health[name])["ok"])
    if health["redis"]["workers"] == 0:
        troubles += ("No worker is running, so due work waits. Start one: syncd up, or syncd worker.",)
    at = health["sweeper"]["at"]
    sweeper = None if at is None else instant(at, now)
    if status is None:
        return Page(
            firm="",
            as_of=Instant(now.isoformat(), "just now"),
            level="bad",
            headline="The status cannot be read.",
            troubles=troubles or ("The numbers could not be read. The log of the web process says why.",),
            tasks=(),
            connections=(),
            backlog=(),
            workers=health["redis"]["workers"],
            sweeper=sweeper,
            readable=False,
            refresh_s=refresh_s,
        )
    cards = tuple(_card(each, now) for each in status["connections"])
    tasks = _tasks(status, cards)
    level: Level = "bad" if troubles else "attention" if tasks else "calm"
    return Page(
        firm=status["firm"],
        as_of=instant(status["as_of"], now),
        level=level,
        headline=_headline(troubles, tasks, cards),
        troubles=troubles,
        tasks=tasks,
        connections=cards,
        backlog=_backlog(status["intents"]),
        workers=health["redis"]["workers"],
        sweeper=sweeper,
        readable=True,
        refresh_s=refresh_s,
    )


def instant(text: str, now: datetime) -> Instant:
    return Instant(text, ago((now - from_iso(text)).total_seconds()))


def ago(seconds: float) -> str:
    """Seconds in words that a glance understands. A clock that is behind gives "just now", never a negative time."""
    for unit_s, one in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= unit_s:
            return f"{counted(int(seconds // unit_s), one, one + 's')} ago"
    return f"{int(seconds)} s ago" if seconds >= 2 else "just now"


def counted(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"


def _headline(troubles: Sequence[str], tasks: Sequence[Task], cards: Sequence[ConnectionCard]) -> str:
    if troubles:
        return "Part of the service is not working."
    if tasks:
        return "The service is running. A person is needed for what is listed below."
    if not cards:
        return "The service is running. No system is connected yet."
    return "The service is running. Nothing needs a person."


def _tasks(status: Mapping[str, Any], cards: Sequence[ConnectionCard]) -> tuple[Task, ...]:
    stopped = [
        Task(f"{card.name}: {card.problem}", card.remedy, f"syncd connect check {card.name}")
        for card in cards
        if card.problem
    ]
    observing = [
        Task(f"{card.name} only observes", "Look at its plan, then approve it.", f"syncd plan {card.name}")
        for card in cards
        if card.mode == "observe" and not card.problem
    ]
    drifted = [
        Task(
            f"{each['name']}/{drift['resource']}: the field {drift['field']} {drift['what']}",
            drift["effect"],
            f"syncd connect inspect {each['name']}",
        )
        for each in status["connections"]
        for drift in each.get("drift", ())
    ]
    intents = status["intents"]
    counts = (
        (CONFLICTS, status["conflicts"]),
        (REVIEWS, status["reviews"]),
        (ASIDE, status["dead_letters"]),
        (HELD, intents.get("held", 0)),
    )
    waiting = [Task(counted(n, one, many), why, command) for (one, many, why, command), n in counts if n]
    misnamed = [
        Task(f"No connection is named {name}", "firm.yaml gives it authority.", "syncd connect list")
        for name in status["unknown_names"]
    ]
    return (*stopped, *drifted, *waiting, *observing, *misnamed)


def _backlog(intents: Mapping[str, int]) -> tuple[tuple[str, int], ...]:
    """Every state that holds something, in the order of a write's life; states that we have no word for as they are."""
    known = [(words, intents[state]) for state, words in INTENT_WORDS.items() if intents.get(state)]
    return (*known, *((state, n) for state, n in sorted(intents.items()) if state not in INTENT_WORDS and n))


def _card(each: Mapping[str, Any], now: datetime) -> ConnectionCard:
    return ConnectionCard(
        name=each["name"],
        connector=each["connector"],
        mode=each["mode"],
        mode_words=MODE_WORDS.get(each["mode"], each["mode"]),
        problem=each["problem"] or "",
        remedy=each["remedy"] or "",
        # One cause usually stops all of a system's resources, and is said once.
        troubles=tuple(dict.fromkeys(row["trouble"] for row in each["resources"] if row.get("trouble"))),
        rows=tuple(_row(row, now) for row in each["resources"]),
    )


def _row(row: Mapping[str, Any], now: datetime) -> ResourceRow:
    return ResourceRow(
        name=row["name"],
        last_pull=instant(row["last_pull_at"], now) if row["last_pull_at"] else None,
        numbers=tuple((word, row[name] or 0) for name, word in NUMBER_WORDS.items()),
        due_intents=row["due_intents"] or 0,
    )
