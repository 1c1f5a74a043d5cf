"""The names that others may build on. A change here is a promise made or broken: say so in `changes/`."""

from __future__ import annotations

import connectors
import mappings
import syncd

CONNECTORS = """
    Access Account CanBatch CanCreate CanDelete CanFetch CanFind CanList CanUpdate Capabilities Change Checked Connector
    Create Cursor CursorExpired Delete Facts Finding JSON Misconfigured MissingPermission NeedsPerson OperationKey Page
    RateLimited ReconnectNeeded Record Refused Resource Setting ShapeChanged Spec Stale SyncError TryLater
    UnknownOutcome Unreachable Update Version
"""


def test_what_a_connectors_author_may_import() -> None:
    assert sorted(connectors.__all__) == sorted(CONNECTORS.split())
    assert all(hasattr(connectors, name) for name in connectors.__all__)


def test_nothing_else_is_offered_at_the_top() -> None:
    """A programmer imports from the module that owns a name; a firm uses the command, the console and the files."""
    for package in (mappings, syncd):
        assert getattr(package, "__all__", []) == []
