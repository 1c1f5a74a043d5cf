"""The demo's proof: are the systems equal? Asked of the systems themselves, through their own APIs."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from mappings.load import ConnectorMapping, RecordMapping, load
from mappings.normalize import normalizer
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
            for page in talking.connector.pull(resource, None):
                for record in page.records:
                    if record.deleted:
                        continue
                    lens = next((each for each in mapping.of(resource) if each.applies(record.body)), None)
                    if lens is not None:
                        yield lens, record.id, record.body
    finally:
        talking.close()


class Comparison:
    """Are the systems equal? Everybody in practice management is held against the other systems' records.

    Clio has room for everything, so it is the yardstick: what another system would hold after taking Clio's values
    (its own rendition of them) must be what it holds, for every field that both map and the other's zone may see.
    The other way round, no set may hold an element that Clio lacks.
    People are told apart by e-mail, companies by name, in the systems' own data; links of the service play no part.
    """

    def __init__(self, app: App) -> None:
        self.app = app
        self.world = app.world()
        self.equal = normalizer("US")

    def run(self) -> tuple[list[dict[str, Any]], dict[str, int]]:
        seen: dict[str, dict[str, list[tuple[RecordMapping, str, dict[str, Any]]]]] = {}
        counts: dict[str, int] = {}
        everything = {name: list(read_all(self.app, name, load(connector))) for name, connector in SYSTEMS.items()}
        for name, rows in everything.items():
            counts[name] = len(rows)
            for lens, id, body in rows:
                identity = self._identity(lens, body)
                if identity is not None:
                    seen.setdefault(identity, {}).setdefault(name, []).append((lens, id, body))
        deleted = self._deleted_cards()
        differences: list[dict[str, Any]] = []
        for identity, held in sorted(seen.items()):
            differences.extend(
                {"record": identity, "system": name, "what": f"{len(rows)} records for one"}
                for name, rows in held.items()
                if len(rows) > 1
            )
            missing = [name for name in SYSTEMS if name not in held and not (name == "cards" and identity in deleted)]
            differences.extend({"record": identity, "system": name, "what": "missing"} for name in missing)
            if "clio" in held:
                differences.extend(self._differences(identity, held))
        differences.extend(self._billed(everything))
        return differences, counts

    def _identity(self, lens: RecordMapping, body: dict[str, Any]) -> str | None:
        values = lens.get(body)
        if lens.kind == "person":
            return f"person {str(values.get('email')).lower()}"
        if lens.kind == "organisation":
            return f"organisation {str(values.get('name')).casefold()}"
        return None

    def _differences(
        self, identity: str, held: Mapping[str, list[tuple[RecordMapping, str, dict[str, Any]]]]
    ) -> Iterator[dict[str, Any]]:
        lens, _, body = held["clio"][0]
        truth = lens.get(body)
        references = self.world.references(lens.kind)
        for name, rows in held.items():
            if name == "clio":
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
            # What the other system would hold after taking Clio's values, against what it holds.
            expected, actual = other.render(shared, other_body), other.get(other_body)
            for field, value in expected.items():
                if not self.equal.same(lens.kind, field, value, actual.get(field)):
                    yield {"record": identity, "system": name, "what": f"{field} differs from Clio's record"}
            mine = lens.get(body)
            for field in other.lines.keys() - references:
                if other.lines[field].is_set and set(actual.get(field) or {}) - set(mine.get(field) or {}):
                    yield {
                        "record": identity,
                        "system": name,
                        "what": f"{field} has something that Clio's record lacks",
                    }

    def _deleted_cards(self) -> set[str]:
        """Who was deleted in the address book by its own users: they stay deleted there, and live on elsewhere."""
        with reading(self.app.engine) as sql:
            rows = sql.execute(
                select(records.c.golden)
                .join(links, links.c.canonical_id == records.c.id)
                .where(links.c.connection == "cards", ~links.c.alive)
            ).scalars()
            return {f"person {str(json.loads(row).get('email')).lower()}" for row in rows}

    def _billed(
        self, everything: Mapping[str, list[tuple[RecordMapping, str, dict[str, Any]]]]
    ) -> Iterator[dict[str, Any]]:
        """Each opportunity shows what Clio has billed on its matter: added up here from the bills themselves."""
        numbers = {id: body["display_number"] for lens, id, body in everything["clio"] if lens.kind == "matter"}
        billed: dict[str, Decimal] = {}
        for lens, _, body in everything["clio"]:
            values = lens.get(body) if lens.kind == "invoice" else {}
            if values.get("status") in ("issued", "paid") and values.get("matter"):
                number = numbers[str(values["matter"]).partition(":")[2]]
                billed[number] = billed.get(number, Decimal(0)) + Decimal(str(values["total"]))
        for lens, id, body in everything["crm"]:
            if lens.kind == "opportunity" and body.get("Matter_Number__c"):
                shown = Decimal(str(body.get("Billed_Total__c") or 0))
                if shown != billed.get(body["Matter_Number__c"], Decimal(0)):
                    yield {
                        "record": f"opportunity {id}",
                        "system": "crm",
                        "what": "billed total differs from the bills",
                    }
