"""The four things that the processes around the engine ask of it: open, work, due, status.

Workers, sweeper and web take them as one value, so that their own behaviour (kills, outages, restarts) can be
tested with an engine of twenty lines.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from syncd.config import Settings


class Opened(Protocol):
    """An application whose database can be reached. Opening is cheap, and safe after a fork."""

    @property
    def engine(self) -> Engine: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Application:
    """What the engine can do.

    open    settings -> an opened application
    work    (opened, seconds) -> turns done; takes due turns one after another, first lane first, until none is due
            or the time is up. A turn that has begun is finished. Leases and fencing are inside
    due     opened -> how many turns are due now and free to take
    status  opened -> the status page's numbers (see syncd/status.py)
    warm    settings -> nothing; loads into this process what every look would otherwise load anew after its fork
    """

    open: Callable[[Settings], Any]
    work: Callable[[Any, float], int]
    due: Callable[[Any], int]
    status: Callable[[Any], dict[str, Any]]
    warm: Callable[[Settings], None] = lambda settings: None


def shipped() -> Application:
    """The real engine. Imports all of it: a worker calls this before its first fork, so that no look pays for it."""
    from sqlalchemy.exc import SQLAlchemyError

    from mappings.normalize import domains
    from syncd.app import open_app
    from syncd.connecting import connector_class
    from syncd.status import status
    from syncd.work import due, work

    def warm(settings: Settings) -> None:
        domains.registered("example.com")
        with suppress(SQLAlchemyError, OSError):  # a look will say so
            app = open_app(settings)
            try:
                for member in app.world().members.values():  # compiles the mappings
                    connector_class(member.spec.name)
            finally:
                app.close()

    return Application(
        open=open_app, work=lambda app, limit_s: work(app, limit_s=limit_s), due=due, status=status, warm=warm
    )
