"""Connecting systems: add after a real check, list, check again, approve the first plan, remove.

A new connection observes: it reads, matches and plans, and writes nothing until a person approves its plan.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from connectors import registry
from connectors.contract import Finding
from connectors.errors import Misconfigured, SyncError
from syncd import schemas, upgrades
from syncd.app import App, Member, World
from syncd.clock import iso
from syncd.config import CONNECTION_NAME, ZONES
from syncd.connecting import BOUND, OfferedTokens, Place, offer, open_connection, sealed, talk, unsealed
from syncd.reconcile import Reconciler, owe_all
from syncd.store.database import lock_settling, reading
from syncd.store.tables import (
    connections,
    dead_letters,
    intents,
    links,
    pending_refs,
    records,
    turns,
)
from syncd.vault import VaultError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from sqlalchemy import Connection

    from connectors.contract import Checked, Connector, Facts


CHECK_MAX = timedelta(minutes=2)
"""A check takes seconds; one that is older was interrupted."""


class CannotConnect(Exception):
    """A connection cannot be added, found or changed; the message says why and what to do."""


class NoSuchConnection(CannotConnect):
    """There is no connection of that name."""


@dataclass(frozen=True, slots=True)
class Added:
    name: str
    checked: Checked
    resources: tuple[str, ...]


def add(
    app: App,
    name: str,
    connector: str,
    given: Mapping[str, str],
    *,
    zone: str | None = None,
    poll_s: float | None = None,
    live: bool = False,
) -> Added:
    """Check the account and store the connection. `given` holds settings and secrets by the connector's own names.

    Raises CannotConnect or SyncError; then nothing is stored.
    """
    if not CONNECTION_NAME.fullmatch(name):
        raise CannotConnect(f"A connection's name is lower-case letters, digits, - and _ (found {name!r}).")
    made = registry.load(connector)
    known = {setting.name: setting for setting in made.spec.settings}
    for wrong in sorted(given.keys() - known.keys()):
        raise CannotConnect(f"{connector} has no setting {wrong!r}. It knows: {', '.join(known)}.")
    values = {s.name: given.get(s.name, s.default) for s in made.spec.settings}
    missing = [s.name for s in made.spec.settings if s.required and not values[s.name]]
    if missing:
        lines = "\n".join(f"  {each}: {known[each].help}" for each in missing)
        raise CannotConnect(f"{connector} needs more settings:\n{lines}")
    chosen = zone or made.spec.zone
    if chosen not in ZONES:
        raise CannotConnect(f"There is no zone {chosen!r}. There are: {', '.join(ZONES)}.")
    settings = {key: value for key, value in values.items() if value and not known[key].secret}
    secrets = {key: value for key, value in values.items() if value and known[key].secret}
    now = iso(app.clock.now())
    _make_room(app, name)
    place = Place(name, connector, json.dumps(settings))
    row = {
        "name": name, "connector": connector, "account": f"checking:{name}", "label": "", "zone": chosen,
        "settings": place.settings, "secrets": sealed(app, place, secrets), "secrets_version": 1,
        "mode": "checking", "created_at": now,
    }  # fmt: skip
    # The row exists while the check runs, so that a token which rotates during it is kept.
    with app.engine.begin() as sql:
        sql.execute(insert(connections).values(**row))
    try:
        checked = _checked(app, name)
        resources = _mapped(app, name)
        _finish(app, name, connector, checked, resources, poll_s, live=live)
    except BaseException:
        with app.engine.begin() as sql:
            sql.execute(delete(turns).where(turns.c.connection == name))
            schemas.forget(sql, name)
            sql.execute(delete(connections).where(connections.c.name == name))
        raise
    return Added(name, checked, resources)


def _make_room(app: App, name: str) -> None:
    """Refuse a name that is taken; what an interrupted check left behind goes."""
    with app.engine.begin() as sql:
        found = sql.execute(
            select(connections.c.mode, connections.c.created_at).where(connections.c.name == name)
        ).one_or_none()
        if found is None:
            return
        if found.mode != "checking":
            raise CannotConnect(
                f"There is already a connection named {name!r}. Choose another name or remove it first."
            )
        if found.created_at > iso(app.clock.now() - CHECK_MAX):
            raise CannotConnect(
                f"{name!r} is being connected just now. If that was interrupted, try again in two minutes."
            )
        sql.execute(delete(connections).where(connections.c.name == name, connections.c.mode == "checking"))


def _checked(app: App, name: str) -> Checked:
    """The connector's own check, and what the account's fields mean for the lines of the mapping."""
    talking = open_connection(app, name)
    try:
        checked = talking.connector.check()
        if any(finding.level == "error" for finding in checked.findings):
            return checked
        return replace(checked, findings=(*checked.findings, *_drift(app, name, talking.connector)))
    finally:
        talking.close()


def _drift(app: App, name: str, connector: Connector) -> Iterator[Finding]:
    world = app.world()
    if (member := world.members.get(name)) is None:
        return
    for resource in dict.fromkeys(lens.resource for lens in member.mapping.mappings):
        try:
            schemas.look(app, world, connector, name, resource, at_once=True)
        except SyncError as error:
            what = f"{resource}: which fields there are could not be read. {error.message}"
            yield Finding("warning", what, error.remedy or "Check again later.")
    with reading(app.engine) as sql:
        found = schemas.drifts(sql).get(name, ())
    for each in found:
        what = f"{each['resource']}: the field {each['field']} {each['what']} ({'; '.join(each['lines'])})."
        yield Finding("warning", f"{what} {each['effect']}", each["remedy"])


def _mapped(app: App, name: str) -> tuple[str, ...]:
    world = app.world()
    if name in world.broken:
        raise Misconfigured(world.broken[name], remedy="Correct the mapping file, then try again.")
    member = world.members[name]
    return tuple(dict.fromkeys(lens.resource for lens in member.mapping.mappings))


def _finish(
    app: App,
    name: str,
    connector: str,
    checked: Checked,
    resources: tuple[str, ...],
    poll_s: float | None,
    *,
    live: bool,
) -> None:
    now = iso(app.clock.now())
    facts: Facts = registry.spec(connector).facts
    with app.engine.begin() as sql:
        other = sql.execute(
            select(connections.c.name).where(
                connections.c.connector == connector, connections.c.account == checked.account.id
            )
        ).scalar()
        if other is not None:
            raise CannotConnect(
                f"This {connector} account ({checked.account.label}) is already connected as {other!r};"
                " the same account twice would sync it with itself."
            )
        try:
            sql.execute(
                update(connections)
                .where(connections.c.name == name)
                .values(account=checked.account.id, label=checked.account.label, mode="live" if live else "observe")
            )
        except IntegrityError as error:
            raise CannotConnect(f"This {connector} account is already connected.") from error
        _begin(sql, name, resources, poll_s or app.settings.firm.poll_s, facts, now)


def _begin(sql: Connection, name: str, resources: Iterable[str], poll_s: float, facts: Facts, now: str) -> None:
    """Resources of this connection are read from now on."""
    for resource in resources:
        sql.execute(
            insert(turns).values(
                connection=name,
                resource=resource,
                poll_s=poll_s,
                pull_due_at=now,
                sweep_due_at=now if facts.deletions == "listing" else None,
                pulled_once=False,
                mapping="",
                failures=0,
                fence=0,
            )
        )


def check(app: App, name: str) -> Checked:
    """Check a stored connection again; when it works, whatever stopped it is forgotten. Raises SyncError."""
    stopped = _row(app, name)["problem"] is not None
    checked = _checked(app, name)
    resources = _mapped(app, name)
    world = app.world()
    with app.engine.begin() as sql:
        account = sql.execute(select(connections.c.account).where(connections.c.name == name)).scalar()
        if account != checked.account.id:
            raise Misconfigured(
                "These credentials belong to another account than the one that was connected.",
                remedy="Sign in to the same account, or remove the connection and add the other account.",
            )
        if not any(finding.level == "error" for finding in checked.findings):
            now = iso(app.clock.now())
            sql.execute(
                update(connections)
                .where(connections.c.name == name)
                .values(problem=None, remedy=None, paused_until=None)
            )
            _go_on(sql, name, now)
            # A newer version's mapping may hold resources that were not read when the connection was made.
            known = set(sql.execute(select(turns.c.resource).where(turns.c.connection == name)).scalars())
            new = [resource for resource in resources if resource not in known]
            _begin(sql, name, new, app.settings.firm.poll_s, world.members[name].spec.facts, now)
            if stopped:
                # With a mapping that could not be read, nothing was noted for this connection meanwhile.
                _owe_all(sql, world, name, resources, now)
    return checked


def _go_on(sql: Connection, name: str, now: str) -> None:
    """It works again: nothing waits any longer because of earlier failures."""
    sql.execute(update(turns).where(turns.c.connection == name).values(pull_due_at=now, failures=0))
    waiting = (intents.c.connection == name, intents.c.state.in_(("due", "unknown")), intents.c.due_at > now)
    sql.execute(update(intents).where(*waiting).values(due_at=now))


def approve(app: App, name: str) -> None:
    """Let an observing connection write: its first plan has been seen."""
    _row(app, name)
    world = app.world()
    now = iso(app.clock.now())
    with app.engine.begin() as sql:
        sql.execute(update(connections).where(connections.c.name == name).values(mode="live"))
        _owe_all(sql, world, name, _mapped(app, name), now)


def _owe_all(sql: Connection, world: World, name: str, resources: Sequence[str], now: str) -> None:
    """Note everything that this connection may be owed, where its records are known."""
    here = turns.c.connection == name
    read = set(sql.execute(select(turns.c.resource).where(here, turns.c.pulled_once)).scalars())
    for resource in resources:
        if resource in read:
            owe_all(sql, world, name, resource, now)


def remove(app: App, name: str) -> int:
    """Forget a connection: credentials, links and claims. Deletes nothing in any system. Returns the links dropped."""
    _row(app, name)
    world = app.world()
    with app.engine.begin() as sql:
        lock_settling(sql)
        touched = list(sql.execute(select(links.c.canonical_id).where(links.c.connection == name).distinct()).scalars())
        dropped = sql.execute(delete(links).where(links.c.connection == name)).rowcount
        for table in (intents, turns, dead_letters):
            sql.execute(delete(table).where(table.c.connection == name))
        sql.execute(delete(pending_refs).where(pending_refs.c.connection == name))
        schemas.forget(sql, name)
        upgrades.forget(sql, name)
        sql.execute(delete(connections).where(connections.c.name == name))
        remaining = {key: member for key, member in world.members.items() if key != name}
        alone = World(app.settings, remaining)
        Reconciler(app, alone, name, "", None).settle_within(sql, touched)
        sql.execute(
            update(records)
            .where(records.c.status == "live", records.c.id.not_in(select(links.c.canonical_id)))
            .values(status="gone")
        )
    return dropped


def replace_secrets(app: App, name: str, given: Mapping[str, str]) -> Checked:
    """Reconnect: new secrets for the same account. Raises SyncError; then the old ones stay."""
    row = _row(app, name)
    known = {setting.name: setting for setting in registry.spec(row["connector"]).settings}
    for wrong in sorted(key for key in given if key not in known or not known[key].secret):
        raise CannotConnect(f"{wrong!r} is no secret of {row['connector']}.")
    settings = json.loads(row["settings"])
    try:
        stored = unsealed(app, Place.of(row), row["secrets"])
    except VaultError:  # the key is lost, or the row was changed by somebody: then everything has to be given anew
        stored = {}
    missing = [
        s.name for s in known.values() if s.secret and s.required and not (given.get(s.name) or stored.get(s.name))
    ]
    if missing:
        raise CannotConnect(f"{name!r} needs {', '.join(missing)} again: what is stored cannot be read.")
    offered = OfferedTokens(offer(stored, given))
    talking = talk(row["connector"], settings, offered.secrets, offered)
    try:
        checked = talking.connector.check()
    finally:
        talking.close()
    if checked.account.id != row["account"]:
        raise Misconfigured("That is another account.", remedy="Sign in to the account that was connected before.")
    now = iso(app.clock.now())
    with app.engine.begin() as sql:
        sql.execute(
            update(connections)
            .where(connections.c.name == name)
            .values(
                secrets=sealed(app, Place.of(row), offered.secrets),
                secrets_version=connections.c.secrets_version + 1,
                problem=None,
                remedy=None,
                paused_until=None,
            )
        )
        _go_on(sql, name, now)
    return checked


def move(app: App, name: str, changes: Mapping[str, str]) -> None:
    """The same account is found elsewhere from now on: change settings, and seal the secrets for the new place."""
    with app.engine.begin() as sql:
        columns = (*BOUND, connections.c.secrets)
        row = sql.execute(select(*columns).where(connections.c.name == name)).mappings().one()
        secrets = unsealed(app, Place.of(row), row["secrets"])
        there = Place(name, row["connector"], json.dumps(json.loads(row["settings"]) | dict(changes)))
        sql.execute(
            update(connections)
            .where(connections.c.name == name)
            .values(settings=there.settings, secrets=sealed(app, there, secrets))
        )


def member(app: App, name: str) -> Member:
    """A connection with its mapping. Raises NoSuchConnection, and CannotConnect when the mapping cannot be used."""
    _row(app, name)
    world = app.world()
    if name in world.broken:
        raise CannotConnect(
            f"The mapping of {name!r} cannot be used: {world.broken[name]} Check it: syncd mapping check"
        )
    return world.members[name]


def _row(app: App, name: str) -> Mapping[str, Any]:
    with reading(app.engine) as sql:
        row = sql.execute(select(connections).where(connections.c.name == name)).mappings().one_or_none()
        names = sql.execute(select(connections.c.name).order_by(connections.c.name)).scalars().all()
    if row is None:
        known = f"There are: {', '.join(names)}." if names else "None is connected yet: syncd connect add."
        raise NoSuchConnection(f"There is no connection named {name!r}. {known}")
    return dict(row)
