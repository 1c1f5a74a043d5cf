"""The demo's proof: are the systems equal? Asked of the systems themselves, through their own APIs."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from mappings.load import ConnectorMapping, RecordMapping
from syncd.connecting import open_connection
from syncd.demo.systems import SYSTEMS
from syncd.store.database import reading
from syncd.store.tables import links, records

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from syncd.app import App


def read_all(app: App, name: str, mapping: ConnectorMapping) -> Iterator[tuple[RecordMapping, str, dict[str, Any]]]:
    """Every live record of a system, read through its API from the beginning, with the mapping that applies."""
    talking = open_connection(app, name)
    try:
        for resource in dict.fromkeys(lens.resource for lens in mapping.mappings):
            # A pull may bring a record more than once; what it said last counts.
            found = {record.id: record for page in talking.connector.pull(resource, None) for record in page.records}
            for record in found.values():
                lens = next((each for each in mapping.of(resource) if each.applies(record.body)), None)
                if lens is not None and not record.deleted:
                    yield lens, record.id, record.body
    finally:
        talking.close()


Held = list[tuple[RecordMapping, str, dict[str, Any]]]
"""Records of one system: mapping, vendor id, body."""


class Comparison:
    """Are the systems equal? Everybody in one system, the yardstick, is held against the other systems' records.

    systems    connection name -> connector
    yardstick  a system that has room for everything: what another one would hold after taking its values (its own
               rendition of them) must be what it holds, for every field that both map and the other's zone may see.
               The other way round, no set may hold an element that the yardstick lacks

    People are told apart by e-mail (or name, without any), companies by name, in the systems' own data; links of the
    service only tell who was deleted by a system's own users: these stay deleted there, and live on elsewhere.
    """

    def __init__(self, app: App, systems: Mapping[str, str] = SYSTEMS, yardstick: str = "clio") -> None:
        self.app = app
        self.systems = systems
        self.yardstick = yardstick
        self.world = app.world()
        self.equal = self.world.normalizer

    def run(self) -> tuple[list[dict[str, Any]], dict[str, int]]:
        """What differs ({record, system, what}), and how many records each system holds."""
        seen: dict[str, dict[str, Held]] = {}
        everything = {name: list(read_all(self.app, name, self.world.members[name].mapping)) for name in self.systems}
        for name, rows in everything.items():
            for lens, id, body in rows:
                identity = self._identity(lens.kind, lens.get(body))
                if identity is not None:
                    seen.setdefault(identity, {}).setdefault(name, []).append((lens, id, body))
        deleted = {name: self._deleted(name) for name in self.systems}
        differences: list[dict[str, Any]] = []
        for identity, held in sorted(seen.items()):
            for name in self.systems:
                count = len(held.get(name, ()))
                if count > 1:
                    differences.append(difference(identity, name, f"{count} records for one"))
                elif count == 0 and identity not in deleted[name]:
                    differences.append(difference(identity, name, "missing"))
            if self.yardstick in held:
                differences.extend(self._differences(identity, held))
        differences.extend(self._billed(everything))
        return differences, {name: len(rows) for name, rows in everything.items()}

    def _identity(self, kind: str, values: Mapping[str, Any]) -> str | None:
        if kind == "person":
            full = " ".join(str(values[part]) for part in ("given_name", "family_name") if values.get(part))
            return f"person {str(values.get('email') or full).casefold()}"
        if kind == "organisation":
            return f"organisation {str(values.get('name')).casefold()}"
        return None

    def _differences(self, identity: str, held: Mapping[str, Held]) -> Iterator[dict[str, Any]]:
        lens, _, body = held[self.yardstick][0]
        truth = lens.get(body)
        references = self.world.references(lens.kind)
        for name, rows in held.items():
            if name == self.yardstick:
                continue
            other, _, other_body = rows[0]
            classes = self.world.classes(lens.kind)
            row = self.world.matrix.get(self.world.members[name].zone, frozenset())
            shared = {
                field: value
                for field, value in truth.items()
                if field in other.lines
                and other.lines[field].direction != "in"
                and field not in references
                and classes[field] in row
            }
            # What the other system would hold after taking these values, against what it holds.
            actual = other.get(other_body)
            expected = [other.render(values, other_body) for values in (shared, _labelled(shared))]
            for field in expected[0]:
                if not any(self.equal.same(lens.kind, field, e.get(field), actual.get(field)) for e in expected):
                    yield difference(identity, name, f"{field} differs from {self.yardstick}'s record")
            for field in other.lines.keys() - references:
                if other.lines[field].is_set and set(actual.get(field) or {}) - set(truth.get(field) or {}):
                    yield difference(identity, name, f"{field} has something that {self.yardstick}'s record lacks")

    def _deleted(self, name: str) -> set[str]:
        """Who was deleted in a system by its own users."""
        with reading(self.app.engine) as sql:
            rows = sql.execute(
                select(records.c.kind, records.c.golden)
                .join(links, links.c.canonical_id == records.c.id)
                .where(links.c.connection == name, ~links.c.alive)
            )
            found = {self._identity(kind, json.loads(golden)) for kind, golden in rows}
            return {identity for identity in found if identity is not None}

    def _billed(self, everything: Mapping[str, Held]) -> Iterator[dict[str, Any]]:
        """Each opportunity shows what was billed on its matter: added up here from the invoices themselves."""
        numbers = {
            f"{name}/{lens.resource}:{id}": lens.get(body)["number"]
            for name, rows in everything.items()
            for lens, id, body in rows
            if lens.kind == "matter"
        }
        billed: dict[str, Decimal] = {}
        for name, rows in everything.items():
            for lens, _, body in rows:
                values = lens.get(body) if lens.kind == "invoice" else {}
                if values.get("status") in ("issued", "paid") and values.get("matter"):
                    number = _number(values["matter"], name, numbers)
                    billed[number] = billed.get(number, Decimal(0)) + Decimal(str(values["total"]))
        for name, rows in everything.items():
            for lens, id, body in rows:
                values = lens.get(body) if lens.kind == "opportunity" else {}
                if values.get("matter") and "billed_total" in lens.lines:
                    number = _number(values["matter"], name, numbers)
                    if Decimal(str(values.get("billed_total") or 0)) != billed.get(number, Decimal(0)):
                        yield difference(f"opportunity {id}", name, "billed total differs from the bills")


def _labelled(values: dict[str, Any]) -> dict[str, Any]:
    """Without the label "other": systems give it to whatever comes without one, each in its own way."""
    return {
        name: {key: _labelled_item(item) for key, item in value.items()} if type(value) is dict else value
        for name, value in values.items()
    }


def _labelled_item(item: dict[str, Any]) -> dict[str, Any]:
    return {part: value for part, value in item.items() if (part, value) != ("label", "other")}


def difference(record: str, system: str, what: str) -> dict[str, Any]:
    return {"record": record, "system": system, "what": what}


def _number(reference: str, name: str, numbers: Mapping[str, str]) -> str:
    """The matter's number behind a reference: by key ("?matter.number=00012-Doe") or by the system's own id."""
    return reference.partition("=")[2] if reference.startswith("?") else numbers[f"{name}/{reference}"]
