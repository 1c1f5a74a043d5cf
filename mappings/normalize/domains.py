"""Domains: the part that somebody registered, which tells whose a web site or a mailbox is.

"www.law.smith.co.uk" is Smith's (smith.co.uk), and everybody's site at a host of sites is its own. Which endings are
public is the Public Suffix List's business; tldextract carries a copy of it, and never fetches another one here. An
ending that is not on the list counts as one label, by the list's own last rule: firms have networks of their own.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.metadata import version
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import idna

from mappings.normalize.normalized import Normalized, refused

if TYPE_CHECKING:
    from tldextract import TLDExtract


@lru_cache(maxsize=1)
def _list() -> TLDExtract:
    from tldextract import TLDExtract  # reads its list of suffixes, which takes a while

    return TLDExtract(cache_dir=None, suffix_list_urls=(), include_psl_private_domains=True)


@lru_cache(maxsize=1)
def parser() -> str:
    return f"tldextract {version('tldextract')}"


@lru_cache(maxsize=8192)
def registered(raw: str) -> str | None:
    """The registered domain of a host, an address of a web site or a mailbox, in lower case; None without one."""
    host = _host(raw)
    labels = host.split(".")
    if len(labels) < 2 or labels[-1].isdigit() or not all(labels):
        return None
    found = _list().extract_str(host)
    if not found.suffix:
        return ".".join(labels[-2:])
    return f"{found.domain}.{found.suffix}" if found.domain else None


def _host(raw: str) -> str:
    text = raw.strip().rpartition("@")[2]
    if "//" not in text:
        text = f"//{text}"
    try:
        host = (urlsplit(text).hostname or "").strip(".").lower()
        return host if host.isascii() else idna.encode(host, uts46=True).decode("ascii")
    except (ValueError, UnicodeError):  # such as a bracket that opens and does not close
        return ""


@lru_cache(maxsize=8192)
def read(raw: str) -> Normalized:
    """The registered domain, or why there is none."""
    found = registered(raw)
    if found is not None:
        return Normalized(raw, found, parser(), 1.0 if _list().extract_str(found).suffix else 0.5)
    host = _host(raw)
    if not host:
        return refused(raw, parser(), "it names no host")
    if host.rpartition(".")[2].isdigit():
        return refused(raw, parser(), "it is an address, not a name")
    return refused(raw, parser(), "nobody can register it" if "." in host else "it is a single word")
