"""`make bench`: what a sync costs, as ratios of the least code that could do the same part of it, in one run.

Each round measures the floor and the service in turn, each in a process of its own, so that a busy machine slows both;
the medians of the rounds' ratios are what counts. What the numbers mean stands in docs/performance.md. It exits with 1
when the work itself was wrong (records missing, something changed that had not), never because of a time.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bench import bench_mapping
from tests.servers import Postgres

ROOT = Path(__file__).parent.parent


class Wrong(Exception):
    """The work that was measured was not done right."""


def task(name: str, **given: Any) -> dict[str, Any]:
    """One measurement in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.task", name, json.dumps(given)],
        capture_output=True, text=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False,
    )  # fmt: skip
    if done.returncode:
        raise Wrong(f"{name} failed: {done.stderr[-2000:]}")
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def mapping() -> dict[str, Any]:
    """What reading and writing a record through its mapping costs, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.bench_mapping", "--json"],
        capture_output=True, text=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False,
    )  # fmt: skip
    if done.returncode:
        raise Wrong(f"mapping failed: {done.stderr[-2000:]}")
    result: dict[str, Any] = json.loads(done.stdout)
    return result


@contextlib.contextmanager
def serving(size: int) -> Iterator[str]:
    """The vendor: a process that answers faster than any client asks."""
    server = subprocess.Popen(
        [sys.executable, "-m", "bench.server", "--size", str(size)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert server.stdin is not None
    assert server.stdout is not None
    try:
        yield server.stdout.readline().strip()
    finally:
        server.stdin.close()
        server.wait()
        server.stdout.close()


def edit(base_url: str, percent: float) -> int:
    request = urllib.request.Request(f"{base_url}/bench/edit?percent={percent}", method="POST")
    with urllib.request.urlopen(request) as reply:
        return int(json.load(reply)["edited"])


def expect(what: str, found: object, wanted: object) -> None:
    if found != wanted:
        raise Wrong(f"{what}: {found}, expected {wanted}")


def measured(base_url: str, size: int, fresh: Callable[[], str], home: str, *, profile: bool) -> dict[str, Any]:
    """One round on one database."""
    bare = task("bare", base_url=base_url)
    expect("contacts downloaded", bare["contacts"], size)
    floor = task("floor", base_url=base_url, database_url=fresh())
    url = fresh()
    task("connect", base_url=base_url, database_url=url, home=home)
    full = task("sync", database_url=url, home=home)
    expect("contacts pulled", full["counts"]["pulled"], size)
    expect("links stored", full["stored"]["links"], size)
    expect("contacts put aside", full["counts"]["dead"], 0)
    again = task("sync", database_url=url, home=home, from_the_start=True)
    expect("unchanged contacts", again["counts"]["unchanged"], size)
    idle = task("sync", database_url=url, home=home)
    edited = edit(base_url, 1)
    some = task("sync", database_url=url, home=home)
    expect("contacts changed", some["counts"]["changed"] + some["counts"]["held"] + some["counts"]["conflict"], edited)
    found = {
        "bare": bare, "floor": floor, "full": full, "again": again, "idle": idle, "some": some, "edited": edited,
    }  # fmt: skip
    if profile:
        url = fresh()
        task("connect", base_url=base_url, database_url=url, home=home)
        found["costs"] = task("sync", database_url=url, home=home, profile=True)["costs"]
    return found


def summary(rounds: list[dict[str, Any]], size: int) -> dict[str, Any]:
    def ratio(what: str, of: str) -> float:
        return round(float(statistics.median(each[what]["seconds"] / each[of]["seconds"] for each in rounds)), 2)

    def seconds(what: str) -> float:
        return round(float(statistics.median(each[what]["seconds"] for each in rounds)), 3)

    per_record = statistics.median(each["full"]["seconds"] / size for each in rounds)
    per_change = statistics.median(each["some"]["seconds"] / max(1, each["edited"]) for each in rounds)
    return {
        "full_to_floor": ratio("full", "floor"),
        "again_to_bare": ratio("again", "bare"),
        "seconds": {name: seconds(name) for name in ("bare", "floor", "full", "again", "idle", "some")},
        "records_per_second": round(size / seconds("full")),
        "changed": rounds[0]["edited"],
        "one_percent_to_full": round(statistics.median(e["some"]["seconds"] / e["full"]["seconds"] for e in rounds), 3),
        "change_to_first_record": round(per_change / per_record, 2),
        "requests": {name: rounds[0][name]["requests"] for name in ("full", "again", "idle", "some")},
        "memory_mib": {name: round(max(e[name]["memory_mib"] for e in rounds)) for name in ("floor", "full", "again")},
        "costs": next((each["costs"][:5] for each in rounds if "costs" in each), []),
    }


def run(size: int, rounds: int, databases: list[str], million: bool) -> dict[str, Any]:
    report: dict[str, Any] = {"size": size, "rounds": rounds}
    with tempfile.TemporaryDirectory(prefix="syncd-bench-") as home, contextlib.ExitStack() as held:
        postgres = held.enter_context(Postgres.open()) if "postgresql" in databases else None
        made = 0

        def fresh(database: str) -> str:
            nonlocal made
            made += 1
            return postgres.create() if database == "postgresql" and postgres else f"sqlite:///{home}/{made}.db"

        for database in databases:
            found = []
            for number in range(rounds):
                with serving(size) as base_url:
                    tell(f"{database}, round {number + 1} of {rounds}")
                    found.append(
                        measured(base_url, size, lambda: fresh(database), home, profile=number == 0)  # noqa: B023
                    )
            report[database] = summary(found, size)
            if million:
                tell(f"{database}, 1,000,000 contacts")
                with serving(1_000_000) as base_url:
                    url = fresh(database)
                    task("connect", base_url=base_url, database_url=url, home=home)
                    large = task("sync", database_url=url, home=home)
                    expect("contacts pulled", large["counts"]["pulled"], 1_000_000)
                    report[database]["million"] = {
                        "seconds": round(large["seconds"], 1), "memory_mib": round(large["memory_mib"]),
                    }  # fmt: skip
        tell("mapping")
        report["mapping"] = mapping()
        tell("calls to the CRM")
        report["calls"] = task("calls", home=home, people=min(size, 1000))
        expect("write requests for new records", report["calls"]["create"], report["calls"]["least"])
        expect("write requests for changed records", report["calls"]["update"], report["calls"]["least"])
    return report


def tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def show(report: dict[str, Any]) -> None:
    print(f"{report['size']:,} Clio contacts, {report['rounds']} rounds, medians; goals in brackets")
    for database in ("postgresql", "sqlite"):
        if database not in report:
            continue
        r = report[database]
        s = r["seconds"]
        print(f"\n{database}")
        print(
            f"  full pull              {r['full_to_floor']:>6} x the floor [2.5]   {s['full']} s against {s['floor']} s"
        )
        print(
            f"  nothing changed        {r['again_to_bare']:>6} x download [1.3]    {s['again']} s against {s['bare']} s"
        )
        some = f"{s['some']} s for {r['changed']} records in {r['requests']['some']} requests"
        print(f"  1 % changed            {r['one_percent_to_full']:>6} x the full pull      {some};")
        print(f"                         a change costs {r['change_to_first_record']} x a first record")
        print(f"  nothing new to read    {s['idle']} s, {r['requests']['idle']} requests")
        print(f"  records a second       {r['records_per_second']:,}")
        print(f"  peak memory            {r['memory_mib']['full']} MiB (floor {r['memory_mib']['floor']})")
        if "million" in r:
            print(f"  1,000,000 contacts     {r['million']['seconds']} s, {r['million']['memory_mib']} MiB [300]")
        for where, share in r["costs"]:
            print(f"    {share:6.1%}  {where}")
    print("\nmapping a Clio contact")
    bench_mapping.show(report["mapping"])
    calls = report["calls"]
    print(
        f"\nSalesforce, {calls['people']} records: {calls['create']} write requests for creating and"
        f" {calls['update']} for changing them [{calls['least']}], {calls['reads']} reads"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--size", type=int, default=100_000, help="contacts")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--databases", default="postgresql,sqlite")
    parser.add_argument("--million", action="store_true", help="also 1,000,000 contacts, for the memory")
    parser.add_argument("--quick", action="store_true", help="a few records: does it work at all?")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    size, rounds = (2_000, 1) if given.quick else (given.size, given.rounds)
    try:
        report = run(size, rounds, given.databases.split(","), given.million)
    except Wrong as error:
        tell(str(error))
        sys.exit(1)
    if given.json:
        print(json.dumps(report, indent=2))
    else:
        show(report)


if __name__ == "__main__":
    main()
