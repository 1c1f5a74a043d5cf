"""One measurement in a process of its own, so that its memory is its own: `python -m bench.task NAME JSON`.

Prints one JSON line: seconds of the work itself (without starting Python), peak memory, and what was done, so that
`bench.run` can tell whether the work was right.
"""

from __future__ import annotations

import cProfile
import json
import logging
import pstats
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import func, select, text, update

from bench import floor
from connectors import registry
from connectors.contract import Resource
from connectors.memory import MemoryVendor
from connectors.salesforce.sandbox import SalesforceSandbox
from syncd import application, connections
from syncd.app import App, open_app
from syncd.config import Firm, Settings
from syncd.connecting import open_connection
from syncd.once import sync_once
from syncd.pull import pull
from syncd.store.database import reading
from syncd.store.tables import edges, identity_keys, links, records, reviews, turns
from syncd.turns import take

KEY = bytes(range(32))
NAME = "clio"


def main() -> None:
    name, given = sys.argv[1], json.loads(sys.argv[2])
    logging.disable(logging.INFO)
    started, cpu = time.perf_counter(), time.process_time()
    result = TASKS[name](**given)
    result.setdefault("seconds", time.perf_counter() - started)
    result.setdefault("cpu_s", time.process_time() - cpu)
    result["memory_mib"] = peak_memory_mib()
    print(json.dumps(result))


def peak_memory_mib() -> float:
    """Of this process alone. getrusage would count the parent's memory at the time of the fork on Linux."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def opened(database_url: str, home: str) -> App:
    settings = Settings(
        home=Path(home),
        database_url=database_url,
        redis_url=None,
        key=KEY,
        old_keys=(),
        firm=Firm(name="Bench & Partners"),
    )
    return open_app(settings)


def bare(base_url: str) -> dict[str, Any]:
    return {"contacts": floor.bare(base_url)}


def least(base_url: str, database_url: str) -> dict[str, Any]:
    return {"rows": floor.floor(base_url, database_url)}


def connect(base_url: str, database_url: str, home: str) -> dict[str, Any]:
    """A fresh store with the connection in it, as a firm has it before its first sync."""
    app = opened(database_url, home)
    given = {
        "base_url": base_url, "client_id": "bench", "client_secret": "bench", "refresh_token": "bench", "access_token": "bench",  # noqa: E501
    }  # fmt: skip
    connections.add(app, NAME, "clio", given)
    app.close()
    return {}


def sync(
    database_url: str, home: str, from_the_start: bool = False, profile: bool = False, resource: str = "contacts"
) -> dict[str, Any]:
    """One pull of the contacts. from_the_start: forget the cursor first, so that everything is read again."""
    app = opened(database_url, home)
    application.shipped().warm(app.settings)  # as every worker does once, at its start
    world = app.world()
    with app.engine.begin() as sql:
        if from_the_start:
            sql.execute(update(turns).where(turns.c.resource == resource).values(cursor=None))
        lease = take(sql, NAME, resource, app.owner, app.clock)
    assert lease is not None
    talking = open_connection(app, NAME)

    def work() -> dict[str, int]:
        counts = pull(app, world, talking.connector, lease, requests=talking.requests)
        return {name: getattr(counts, name) for name in ("pulled", "changed", "unchanged", "conflict", "held", "dead")}

    started, cpu = time.perf_counter(), time.process_time()
    counts, costs = profiled(work) if profile else (work(), [])
    seconds, cpu_s = time.perf_counter() - started, time.process_time() - cpu
    talking.close()
    with app.engine.begin() as sql:
        lease.release(sql)
    result = {
        "seconds": seconds,
        "cpu_s": cpu_s,
        "counts": counts,
        "requests": talking.requests(),
        "costs": costs,
        "stored": stored(app),
    }
    app.close()
    return result


def stored(app: App) -> dict[str, int]:
    """Rows by table."""
    tables = (links, records, identity_keys, edges, reviews)
    with reading(app.engine) as sql:
        return {table.name: sql.execute(select(func.count()).select_from(table)).scalar_one() for table in tables}


def analyse(database_url: str) -> dict[str, Any]:
    """What PostgreSQL's autovacuum would do a minute later: statistics for the planner."""
    app = opened(database_url, "/nonexistent")
    with app.engine.begin() as sql:
        sql.execute(text("ANALYZE"))
    app.close()
    return {}


def profiled(work: Callable[[], dict[str, int]]) -> tuple[dict[str, int], list[tuple[str, float]]]:
    """The dearest functions by their own time, as (where, share). The profiler makes Python look dearer than C."""
    profiler = cProfile.Profile(time.thread_time)
    counts = profiler.runcall(work)
    stats: Any = pstats.Stats(profiler)
    own = [(where, times[2]) for where, times in stats.stats.items()]
    total = sum(seconds for _, seconds in own)
    own.sort(key=lambda each: -each[1])
    return counts, [(place(*where), seconds / total) for where, seconds in own[:12]]


def place(file: str, line: int, function: str) -> str:
    return function if file == "~" else f"{'/'.join(Path(file).parts[-2:])}:{line} {function}"


def calls(home: str, people: int) -> dict[str, Any]:
    """How many requests it takes to make, and then to change, so many contacts in the CRM."""
    folder = Path(tempfile.mkdtemp(dir=home))
    vendor = MemoryVendor(resources=(Resource("people"), Resource("companies")), name="bench-people")
    app = opened(f"sqlite:///{folder}/calls.db", str(folder))
    with SalesforceSandbox(accounts=0, contacts=0, opportunities=0, tasks=0) as crm:
        connections.add(app, "people", "memory", {"vendor": "bench-people"}, live=True)
        connections.add(app, "crm", "salesforce", crm.settings, live=True)
        for number in range(people):
            mail = f"person.{number}@example.com"
            body = {"given_name": f"Given{number}", "family_name": f"Family{number}", "email": mail}
            vendor.person_creates("people", {**body, "emails": [{"value": mail, "label": "work"}]}, str(number))
        sync_once(app)
        sync_once(app)
        made, writes_made = len(crm.log), _collections(crm)
        for number in range(people):
            vendor.person_edits("people", str(number), {"title": "Partner"})
        sync_once(app)
        sync_once(app)
        held = [row for row in crm.org.tables["Contact"].values() if row.get("Title") == "Partner"]
        assert len(held) == people, f"{len(held)} of {people} contacts were changed"
        update = _collections(crm) - writes_made
    app.close()
    size = registry.spec("salesforce").facts.batch_max
    return {
        "people": people,
        "create": writes_made,
        "update": update,
        "least": -(-people // size),
        "reads": len(crm.log) - writes_made - update,
        "requests_to_create": made,
    }


def _collections(crm: SalesforceSandbox) -> int:
    return sum(bool(entry.wrote) for entry in crm.log)


TASKS: dict[str, Callable[..., dict[str, Any]]] = {
    "bare": bare,
    "floor": least,
    "connect": connect,
    "sync": sync,
    "analyse": analyse,
    "calls": calls,
}

if __name__ == "__main__":
    main()
