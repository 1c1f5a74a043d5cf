"""Which URLs and addresses a connection may reach."""

from __future__ import annotations

import ipaddress
import socket
import threading

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.egress import Egress, GuardedTransport, Origin, innermost, origin
from connectors.errors import Misconfigured

VENDOR = Egress.allow(("api.acme.example", "*.files.acme.example"))
ODD_LOOPBACKS = [
    "https://0x7f.0.0.1/",
    "https://0x7f000001/",
    "https://2130706433/",
    "https://127.1/",
    "https://0177.0.0.1/",
    "https://127.0.0.1/",
    "https://127.0.0.1./",
    "https://[::1]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:7f00:1]/",
    "https://[0:0:0:0:0:0:0:1]/",
    "https://[::127.0.0.1]/",
    "https://[64:ff9b::7f00:1]/",
    "https://[fe80::1%25eth0]/",
    "https://１２７.0.0.1/",  # noqa: RUF001  full-width digits are the point
    "https://①②⑦.0.0.1/",
    "https://localhost/",
    "https://169.254.169.254/latest/meta-data/",
    "https://[fd00:ec2::254]/",
]


@pytest.mark.parametrize(
    "url",
    [
        "https://api.acme.example/contacts?page=2",
        "https://API.Acme.Example/contacts",
        "https://api.acme.example:443/",
        "https://api.acme.example./",
        "https://eu.files.acme.example/a",
        "https://a.b.files.acme.example/a",
        "HTTPS://api.acme.example/",
    ],
)
def test_hosts_of_the_connector_are_allowed(url: str) -> None:
    assert VENDOR.verdict(url).allowed


@pytest.mark.parametrize(
    "url",
    [
        *ODD_LOOPBACKS,
        "http://api.acme.example/",
        "https://api.acme.example:8443/",
        "https://evil.example/",
        "https://api.acme.example.evil.example/",
        "https://evilapi.acme.example/",
        "https://files.acme.example/",
        "https://xfiles.acme.example/",
        "https://api.acme.example@evil.example/",
        "https://user:word@api.acme.example/",
        "https://@api.acme.example/",
        "https://evil.example\\@api.acme.example/",
        "https://evil.example\\.api.acme.example/",
        "https://api.acme.example\t.evil.example/",
        "https://api.acme.example\n/",
        "https:// api.acme.example/",
        "https://api.acme.example%2eevil.example/",
        "https://api.acme.example:x/",
        "https://api.acme.example:99999/",
        "https:///contacts",
        "https:api.acme.example",
        "//api.acme.example/",
        "ftp://api.acme.example/",
        "file:///etc/passwd",
        "gopher://api.acme.example/",
        "javascript:alert(1)",
        "https://[::1",
        "https://ａpi.evil.example/",  # noqa: RUF001
        "",
    ],
)
def test_everything_else_is_refused_with_a_reason(url: str) -> None:
    verdict = VENDOR.verdict(url)
    assert not verdict.allowed
    assert verdict.why


def test_a_reason_names_the_host_but_never_the_query() -> None:
    verdict = VENDOR.verdict("https://evil.example/?q=jane.doe@example.com")
    assert "evil.example" in verdict.why
    assert "jane" not in verdict.why


def test_base_address_joins_with_its_own_port_only() -> None:
    egress = Egress.allow((), "https://crm.firm.example:8443/app")
    assert egress.verdict("https://crm.firm.example:8443/app/contacts").allowed
    assert not egress.verdict("https://crm.firm.example/app/contacts").allowed
    assert not egress.verdict("http://crm.firm.example:8443/app/contacts").allowed


def test_plain_http_needs_this_machine_or_a_private_network() -> None:
    assert Egress.allow((), "http://127.0.0.1:9101").verdict("http://127.0.0.1:9101/x").allowed
    assert Egress.allow((), "http://localhost:9101").verdict("http://localhost:9101/x").allowed
    assert not Egress.allow((), "http://127.0.0.1:9101").verdict("http://127.0.0.1:9102/x").allowed
    assert Egress.allow((), "http://tryton.firm.example:8000", private=True).private
    with pytest.raises(Misconfigured, match="plain http"):
        Egress.allow((), "http://tryton.firm.example:8000")
    with pytest.raises(Misconfigured, match="user name"):
        Egress.allow((), "https://user:word@crm.firm.example")


@pytest.mark.parametrize(
    ("address", "anybody", "private_base"),
    [
        ("93.184.216.34", True, True),
        ("2606:2800:220:1:248:1893:25c8:1946", True, True),
        ("10.1.2.3", False, True),
        ("192.168.0.5", False, True),
        ("172.16.9.9", False, True),
        ("100.64.1.1", False, True),
        ("fd12:3456::1", False, True),
        ("127.0.0.1", False, True),
        ("::1", False, True),
        ("::ffff:10.1.2.3", False, True),
        ("64:ff9b::a01:203", False, True),
        ("2002:0a01:0203::1", False, True),
        ("169.254.169.254", False, False),
        ("::ffff:169.254.169.254", False, False),
        ("64:ff9b::a9fe:a9fe", False, False),
        ("100.100.100.200", False, False),
        ("fd00:ec2::254", False, False),
        ("fe80::1", False, False),
        ("fe80::1%eth0", False, False),
        ("0.0.0.0", False, False),
        ("::", False, False),
        ("224.0.0.1", False, False),
        ("ff02::1", False, False),
        ("255.255.255.255", False, False),
        ("240.0.0.1", False, False),
        ("no address", False, False),
    ],
)
def test_what_a_name_resolves_to_is_judged_as_well(address: str, anybody: bool, private_base: bool) -> None:
    vendor = Egress.allow(("api.acme.example",))
    assert vendor.address_verdict("api.acme.example", 443, address).allowed is anybody
    own = Egress.allow((), "https://crm.firm.example", private=True)
    assert own.address_verdict("crm.firm.example", 443, address).allowed is private_base


def test_a_private_base_address_opens_nothing_for_other_hosts() -> None:
    egress = Egress.allow(("api.acme.example",), "http://crm.firm.example:8000", private=True)
    assert not egress.address_verdict("api.acme.example", 443, "10.0.0.1").allowed
    assert not egress.address_verdict("crm.firm.example", 443, "10.0.0.1").allowed
    assert egress.address_verdict("crm.firm.example", 8000, "10.0.0.1").allowed


def test_a_vendor_name_that_resolves_to_this_machine_is_never_connected_to() -> None:
    """`localhost` stands in for a name whose DNS answer was turned to loopback."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0)
        port = listener.getsockname()[1]
        egress = Egress(own=Origin("https", "localhost", 1, None), private=False, hosts=("localhost",))
        assert egress.verdict("https://localhost/").allowed  # by name alone it would pass
        transport = GuardedTransport(egress)
        with pytest.raises(Misconfigured, match="not on the public internet"):
            transport.handle_request(httpx.Request("GET", "https://localhost/"))
        with pytest.raises(Misconfigured, match="port"):
            transport.handle_request(httpx.Request("GET", f"https://localhost:{port}/"))
        with pytest.raises(BlockingIOError):
            listener.accept()
        transport.close()


def test_an_unknown_name_is_a_connection_error() -> None:
    transport = GuardedTransport(Egress.allow(("no-such-host.invalid",)))
    with pytest.raises(httpx.ConnectError, match="does not resolve"):
        transport.handle_request(httpx.Request("GET", "https://no-such-host.invalid/"))
    transport.close()


def test_environment_proxies_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    answered = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
        monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
                answered.set()

        thread = threading.Thread(target=answer)
        thread.start()
        url = f"http://127.0.0.1:{port}"
        transport = GuardedTransport(Egress.allow((), url))
        response = transport.handle_request(httpx.Request("GET", url))
        assert response.status_code == 204
        response.close()
        transport.close()
        thread.join(10)
    assert answered.is_set()


@given(st.ip_addresses(v=4))
def test_wrapping_an_address_in_ipv6_changes_no_verdict(address: ipaddress.IPv4Address) -> None:
    plain = VENDOR.address_verdict("api.acme.example", 443, str(address))
    assert innermost(ipaddress.ip_address(f"::ffff:{address}")) == address
    for wrapped in (
        f"::ffff:{address}",
        str(ipaddress.IPv6Address(int(ipaddress.ip_address("64:ff9b::")) + int(address))),
    ):
        assert VENDOR.address_verdict("api.acme.example", 443, wrapped).allowed is plain.allowed


@given(st.text(max_size=60))
def test_no_text_makes_the_verdict_raise_or_name_an_unlisted_host(text: str) -> None:
    for url in (text, f"https://{text}", f"https://{text}/", f"https://api.acme.example{text}"):
        if VENDOR.verdict(url).allowed:
            found = origin(url)
            assert isinstance(found, Origin)
            assert found.host == "api.acme.example" or found.host.endswith(".files.acme.example")
            # The client that sends the request must read the URL as the verdict did.
            assert httpx.URL(url).raw_host.decode().rstrip(".") == found.host
