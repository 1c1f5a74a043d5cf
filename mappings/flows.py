"""How the mappings of a firm fit together: who is the authority for a field, and which fields may enter which zone.

Each mapping file is right or wrong by itself; these questions arise only where several connections meet. The answers
name the line of the file that is at fault, so a person can go there.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mappings.canonical import KINDS

if TYPE_CHECKING:
    from mappings.load import ConnectorMapping


@dataclass(frozen=True, slots=True)
class Clash:
    """Two connections that both say they are the authority for a field. connections: in the order given."""

    kind: str
    field: str
    connections: tuple[str, str]
    error: str


def authorities(mappings: Mapping[str, ConnectorMapping]) -> tuple[dict[str, dict[str, str]], tuple[Clash, ...]]:
    """Which connection is the authority for which field: kind -> field -> connection; and what contradicts itself.

    mappings  connection -> its mapping. A connection may claim a field in several record mappings of one kind.
    """
    found: dict[str, dict[str, str]] = {}
    first_at: dict[tuple[str, str], str] = {}
    clashes: list[Clash] = []
    for connection, mapping in mappings.items():
        for record in mapping.mappings:
            for name, line in record.lines.items():
                if not line.authority:
                    continue
                holder = found.setdefault(record.kind, {}).setdefault(name, connection)
                where = first_at.setdefault((record.kind, name), line.where)
                if holder != connection:
                    error = (
                        f"{line.where}: {record.kind}.{name}: two authorities: {connection} here and {holder} at"
                        f" {where}; take `authority` out of one of them, or write a rule in firm.yaml"
                    )
                    clashes.append(Clash(record.kind, name, (holder, connection), error))
    return found, tuple(clashes)


def forbidden(mapping: ConnectorMapping, zone: str, allowed: Collection[str]) -> tuple[str, ...]:
    """Lines that would write a field into a zone that its class may not enter, one "file:line: ..." text each.

    allowed  the zone's row of the flow matrix: the classes that may be written there
    """
    errors = []
    for record in mapping.mappings:
        for name, line in record.lines.items():
            class_ = KINDS[record.kind].fields[name].cls
            if line.direction != "in" and class_ not in allowed:
                errors.append(
                    f"{line.where}: {record.kind}.{name} is {class_}, which may not enter the zone {zone};"
                    " say `direction: in`, or change the zone's row of the matrix in firm.yaml"
                )
    return tuple(errors)
