"""The demo firm as processes: where its systems stand, and `up`, which runs all of them with the service.

Every sandbox keeps its data in a file of the demo's home, so a second start goes on where the first one stopped.
"""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from syncd.config import FIRM_FILE, write_firm_template
from syncd.starting import Lock

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from syncd.config import Settings
    from syncd.supervisor import Child

PLACE = "demo.json"
HOME = Path(".run/demo")
WEB_PORT = 8620
SYSTEMS: Mapping[str, str] = {"clio": "clio", "crm": "salesforce", "cards": "carddav"}
"""connection name -> connector"""

FIRM_YAML = """\
name: Demo & Partners
region: US
authority: [clio, crm, cards]
poll_s: 2
workers: 2
listen: 127.0.0.1:{port}
"""


def prepare(home: Path, *, size: int, seed: int = 1, port: int = WEB_PORT) -> dict[str, Any]:
    """Make the demo's home on first use, and find free ports; returns its place document (size, seed, ports).

    Where a demo runs already, nothing is moved. Size and seed are those of the first time. Raises SettingsError.
    """
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not (home / FIRM_FILE).exists():
        write_firm_template(home, "Demo & Partners")
        (home / FIRM_FILE).write_text(FIRM_YAML.format(port=port), encoding="utf-8")
    path = home / PLACE
    place: dict[str, Any] = dict(place_of(home)) if path.exists() else {"size": size, "seed": seed, "ports": {}}
    running = Lock(home / "syncd.lock")
    if running.take():
        place["ports"] = {name: _free_port(place["ports"].get(name, 0)) for name in SYSTEMS}
        path.with_suffix(".new").write_text(json.dumps(place, indent=2), encoding="utf-8")
        path.with_suffix(".new").replace(path)
        running.leave()
    return place


def place_of(home: Path) -> Mapping[str, Any]:
    """What `prepare` wrote."""
    place: Mapping[str, Any] = json.loads((home / PLACE).read_text(encoding="utf-8"))
    return place


def _free_port(wanted: int) -> int:
    """The wanted port if nobody has it, else any."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise OSError("no free port on 127.0.0.1")


def url_of(place: Mapping[str, Any], name: str) -> str:
    return f"http://127.0.0.1:{place['ports'][name]}"


def children(home: Path, place: Mapping[str, Any]) -> list[Child]:
    """The sandboxes, and the process that connects them and is then done."""
    from syncd.supervisor import Child

    demo = (sys.executable, "-m", "syncd.demo")
    filled = ("--size", str(place["size"]), "--seed", str(place["seed"]))
    systems = [
        Child(
            f"{name} ({SYSTEMS[name]} sandbox)",
            (*demo, name, "--port", str(place["ports"][name]), "--state", str(home / f"{name}.jsonl"), *filled),
        )
        for name in SYSTEMS
    ]
    return [*systems, Child("connecting", (*demo, "join", str(home)), lasting=False)]


def up(settings: Settings, place: Mapping[str, Any], tell: Callable[[str], None]) -> int:
    """The demo firm until Ctrl-C; the supervisor's exit code."""
    from syncd import supervisor

    tell(f"The demo firm is in {settings.home}: {place['size']} people in Clio, Salesforce and an address book.")
    return supervisor.run(settings, extra=children(settings.home, place), announce=tell)
