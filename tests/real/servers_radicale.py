"""A real CardDAV and CalDAV server for tests: Radicale on loopback, with one user and an empty address book.

It is another project's program (GPL): it runs as a process of its own and is never imported.
"""

from __future__ import annotations

import base64
import socket
import sys
import tempfile
import urllib.error
import urllib.request
from importlib.util import find_spec
from pathlib import Path
from typing import Self
from urllib.parse import quote

from tests.servers import Kept, unavailable

USER, PASSWORD = "lawyer", "secret"
BOOK = f"/{USER}/contacts/"

_CONFIG = """\
[server]
hosts = 127.0.0.1:{port}
[auth]
type = htpasswd
htpasswd_filename = {folder}/users
htpasswd_encryption = plain
delay = 0
[storage]
filesystem_folder = {folder}/collections
[rights]
type = from_file
file = {folder}/rights
[logging]
level = warning
"""

# As Radicale's own default, plus a user who may look and not touch.
_RIGHTS = """\
[root]
user: .+
collection:
permissions: R
[guest]
user: guest
collection: lawyer(/.*)?
permissions: Rr
[principal]
user: .+
collection: {user}
permissions: RW
[calendars]
user: .+
collection: {user}/[^/]+
permissions: rw
"""

_MKCOL = """<?xml version="1.0"?>
<d:mkcol xmlns:d="DAV:" xmlns:c="urn:ietf:params:xml:ns:carddav"><d:set><d:prop>
<d:resourcetype><d:collection/><c:addressbook/></d:resourcetype><d:displayname>{name}</d:displayname>
</d:prop></d:set></d:mkcol>"""


class Radicale:
    """`with Radicale() as server:` gives a running server with an empty address book at `server.url + BOOK`.

    url   of its root, without a final slash; the user is USER with PASSWORD, and "guest" with "guest" may only read
    Raises RuntimeError with the server's own words when it does not start; skips the test where it is not installed.
    """

    def __init__(self) -> None:
        if find_spec("radicale") is None:
            unavailable("Radicale is not installed (pip install radicale)")
        # Somebody else may take the port between our asking for a free one and the server's start: then once more.
        for attempt in range(3):
            try:
                self._start()
                return
            except RuntimeError:
                if attempt == 2:
                    raise

    def _start(self) -> None:
        folder = Path(tempfile.mkdtemp(prefix="syncd-radicale-"))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        (folder / "users").write_text(f"{USER}:{PASSWORD}\nguest:guest\n")
        (folder / "rights").write_text(_RIGHTS)
        (folder / "config").write_text(_CONFIG.format(port=port, folder=folder))
        self.url = f"http://127.0.0.1:{port}"
        self._kept = Kept(folder, [sys.executable, "-m", "radicale", "--config", str(folder / "config")])
        self._kept.wait_until(lambda: self.request("PROPFIND", f"/{USER}/", headers={"Depth": "0"})[0] == 207)
        self.make_book(BOOK, "Contacts")

    def request(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> tuple[int, bytes, dict[str, str]]:
        """One request as USER, by a plain client: (status, body, headers in lower case); status 0 if unreachable."""
        pair = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        request = urllib.request.Request(self.url + quote(path), data=body or None, method=method)
        for name, value in {"Authorization": f"Basic {pair}", **(headers or {})}.items():
            request.add_header(name, value)
        try:
            with urllib.request.urlopen(request, timeout=30) as reply:
                return reply.status, reply.read(), {name.lower(): value for name, value in reply.headers.items()}
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read(), {name.lower(): value for name, value in error.headers.items()}
        except OSError:
            return 0, b"", {}

    def make_book(self, path: str, name: str) -> None:
        status, _, _ = self.request(
            "MKCOL", path, _MKCOL.format(name=name).encode(), {"Content-Type": "application/xml"}
        )
        assert status == 201, f"no address book: {status}"

    def put_card(self, name: str, text: str, book: str = BOOK) -> None:
        """Write a card without any guard, as a person's own program might."""
        headers = {"Content-Type": "text/vcard; charset=utf-8"}
        status, _, _ = self.request("PUT", book + name, text.encode(), headers)
        assert status in (201, 204), f"card not written: {status}"

    def get_card(self, name: str, book: str = BOOK) -> str:
        status, body, _ = self.request("GET", book + name)
        assert status == 200, f"card not read: {status}"
        return body.decode()

    def delete_card(self, name: str, book: str = BOOK) -> None:
        status, _, _ = self.request("DELETE", book + name)
        assert status in (200, 204), f"card not deleted: {status}"

    def stop(self) -> None:
        self._kept.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
