"""Loads a connector's mapping file, with a firm's own changes on top, and gives the compiled record mappings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mappings.compile import Line, RecordMapping, Unreadable
from mappings.language import MappingError, Pins, parse
from mappings.normalize import Normalizer, normalizer
from mappings.plan import Drift, FilePlan
from mappings.transforms import SHIPPED, Transform, load_transforms

__all__ = [
    "ConnectorMapping",
    "Drift",
    "Line",
    "MappingError",
    "Pins",
    "RecordMapping",
    "Unreadable",
    "load",
    "load_text",
    "load_transforms",
    "shipped",
]

_FOLDER = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class ConnectorMapping:
    """All record mappings of one connector, in file order, and the normalizer of its region."""

    connector: str
    mappings: tuple[RecordMapping, ...]
    normalizer: Normalizer
    _by_resource: Mapping[str, tuple[RecordMapping, ...]]

    def of(self, resource: str) -> tuple[RecordMapping, ...]:
        """The record mappings of one resource; () when none."""
        return self._by_resource.get(resource, ())

    @property
    def drift(self) -> tuple[Drift, ...]:
        """Custom fields that are no longer what their lines were pinned to."""
        return tuple(drift for mapping in self.mappings for drift in mapping.drift)

    def for_kind(self, kind: str) -> RecordMapping | None:
        """The record mapping that writes records of the kind, one that may create first; None when none writes."""
        writing = [m for m in self.mappings if m.kind == kind and any(ln.direction != "in" for ln in m.lines.values())]
        return next((m for m in writing if m.creates), writing[0] if writing else None)


def shipped() -> tuple[str, ...]:
    """The connectors that have a mapping file here."""
    return tuple(
        sorted(
            path.stem
            for path in _FOLDER.glob("*.yaml")
            if any(line.startswith("connector:") for line in path.read_text(encoding="utf-8").splitlines())
        )
    )


def load(
    connector: str,
    *,
    region: str = "US",
    override: Path | None = None,
    transforms: Mapping[str, Transform] = SHIPPED,
    pins: Pins | None = None,
    seen: Pins | None = None,
) -> ConnectorMapping:
    """The connector's shipped mapping. Raises MappingError, and FileNotFoundError when there is none.

    region      ISO 3166 code of the country of phone numbers without "+"
    override    the firm's own file, which changes single lines
    transforms  what `transform` can name: `load_transforms` adds a firm's own
    pins        custom fields as agreed (resource -> name -> id), for lines that give no id
    seen        custom fields as the account has them now; a line whose field is another one or gone is stopped, see
                `ConnectorMapping.drift`
    """
    return compiled(load_plan(connector, override=override, transforms=transforms, pins=pins, seen=seen), region)


def load_plan(
    connector: str,
    *,
    override: Path | None = None,
    transforms: Mapping[str, Transform] = SHIPPED,
    pins: Pins | None = None,
    seen: Pins | None = None,
) -> FilePlan:
    """The same, checked and not yet compiled."""
    path = _FOLDER / f"{connector}.yaml"
    if not connector.replace("_", "").replace("-", "").isalnum() or not path.is_file():
        raise FileNotFoundError(f"there is no mapping for the connector {connector!r}; known: {', '.join(shipped())}")
    own = None if override is None else (override.read_text(encoding="utf-8"), override.name)
    return parse(path.read_text(encoding="utf-8"), path.name, override=own, transforms=transforms, pins=pins, seen=seen)


def load_text(
    text: str,
    name: str,
    region: str = "US",
    *,
    override: tuple[str, str] | None = None,
    transforms: Mapping[str, Transform] = SHIPPED,
    pins: Pins | None = None,
    seen: Pins | None = None,
) -> ConnectorMapping:
    """The same from text; `name` is shown in errors. override: text and name."""
    return compiled(parse(text, name, override=override, transforms=transforms, pins=pins, seen=seen), region)


def compiled(plan: FilePlan, region: str = "US") -> ConnectorMapping:
    """The functions of a checked plan."""
    shared = normalizer(region)
    made = tuple(RecordMapping(record, shared) for record in plan.records)
    by_resource = {m.resource: tuple(o for o in made if o.resource == m.resource) for m in made}
    return ConnectorMapping(plan.connector, made, shared, by_resource)
