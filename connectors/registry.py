"""Connectors by name: those that come with the service, and those that other packages offer as entry points.

Nothing is imported until a connector is asked for. Another package joins with one line in its pyproject.toml:

    [project.entry-points."syncd.connectors"]
    acme = "acme_connector:Acme"
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import cast

from connectors.contract import Connector, Spec
from connectors.errors import Misconfigured

GROUP = "syncd.connectors"
BUILT_IN: Mapping[str, str] = {
    "memory": "connectors.memory:Memory",
    "clio": "connectors.clio:Clio",
    "salesforce": "connectors.salesforce:Salesforce",
    "carddav": "connectors.carddav:CardDAV",
    "tryton": "connectors.tryton:Tryton",
}


def names() -> tuple[str, ...]:
    """Every connector's name, sorted. Imports none of them."""
    return tuple(sorted(addresses()))


def addresses() -> dict[str, str]:
    """Where each connector stands, as "package.module:Class".

    Raises Misconfigured when two installed packages claim one name, or a package claims a built-in's.
    """
    found = dict(BUILT_IN)
    for entry in entry_points(group=GROUP):
        if found.setdefault(entry.name, entry.value) != entry.value:
            raise Misconfigured(
                f"Two connectors are named {entry.name!r}: {found[entry.name]} and {entry.value}.",
                remedy="Uninstall one of the two packages.",
            )
    return found


def load(name: str) -> type[Connector]:
    """The connector's class. Raises Misconfigured when there is none of that name, or it is not one."""
    known = addresses()
    if name not in known:
        near = difflib.get_close_matches(name.strip().lower(), known, n=1, cutoff=0.5)
        hint = f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(sorted(known))}."
        raise Misconfigured(f"There is no connector named {name!r}. {hint}", remedy=hint)
    module, _, attribute = known[name].partition(":")
    try:
        found = getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise Misconfigured(
            f"The connector {name!r} cannot be loaded from {known[name]}.", remedy="Reinstall its package."
        ) from error
    spec = getattr(found, "spec", None)
    if not isinstance(spec, Spec) or spec.name != name or not callable(getattr(found, "pull", None)):
        raise Misconfigured(f"{known[name]} is not a connector named {name!r}.", remedy="Reinstall its package.")
    return cast("type[Connector]", found)


def spec(name: str) -> Spec:
    """The connector's description of itself; runs none of its code but its import."""
    return load(name).spec
