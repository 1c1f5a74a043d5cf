"""E-mail addresses: the key under which equal ones meet, the mailbox behind provider spellings, role mailboxes.

`key` is for sets and equality: case and the domain's spelling do not matter, everything else does. `mailbox` is
for matching only: it also removes what the large providers ignore (dots and +tags at Gmail and the like).
`problem` and `read` check syntax with email-validator, without DNS; it is slow, so they are kept off the road of
records.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from importlib.metadata import version

import idna

from mappings.normalize.normalized import Normalized, refused

ROLES = frozenset(
    """abuse accounting accounts admin administration administrator assistant billing bills booking bookings careers
    clientservices compliance contact contactus courtclerk customerservice docketing donotreply ebilling enquiries
    enquiry finance frontdesk general hello help helpdesk hr info information inquiries inquiry intake invoice
    invoices it jobs kontakt legal lawyers mail mailbox marketing media no-reply noreply notices office officemanager
    orders paralegal payments payroll post postmaster press privacy reception receptionist records sales secretary
    security service services staff support team webmaster welcome""".split()
)
"""Local parts that belong to a desk, not to a person."""

FREE_DOMAINS = frozenset(
    """126.com 163.com aim.com aol.com att.net bellsouth.net btinternet.com charter.net comcast.net cox.net
    earthlink.net fastmail.com free.fr gmail.com gmx.com gmx.de gmx.net googlemail.com hey.com hotmail.co.uk
    hotmail.com hotmail.fr icloud.com juno.com laposte.net
    libero.it live.com mac.com mail.com mail.ru me.com msn.com naver.com orange.fr
    outlook.com pm.me proton.me protonmail.com qq.com rocketmail.com sbcglobal.net sky.com t-online.de tutanota.com
    verizon.net wanadoo.fr web.de yahoo.co.uk yahoo.com yahoo.fr yandex.ru ymail.com zoho.com""".split()
)
"""Domains that say nothing about an employer."""

# What a provider ignores in the local part, from its own help pages: dots, and everything after a separator.
_PROVIDERS = {
    "gmail.com": ("gmail.com", "+", True),
    "googlemail.com": ("gmail.com", "+", True),
    "outlook.com": ("outlook.com", "+", False),
    "hotmail.com": ("hotmail.com", "+", False),
    "live.com": ("live.com", "+", False),
    "icloud.com": ("icloud.com", "+", False),
    "me.com": ("icloud.com", "+", False),
    "mac.com": ("icloud.com", "+", False),
    "fastmail.com": ("fastmail.com", "+", False),
    "proton.me": ("proton.me", "+", False),
    "protonmail.com": ("proton.me", "+", False),
    "pm.me": ("proton.me", "+", False),
    "yahoo.com": ("yahoo.com", "-", False),
    "ymail.com": ("ymail.com", "-", False),
}


def key(raw: str) -> str | None:
    """The address in lower case with its domain in IDNA form; None when it is blank.

    Text that is no address keeps a key too (its lower case), so that nothing is lost on the way through a set.
    """
    text = raw.strip()
    if text[-1:] == ">" and "<" in text:
        text = text[text.rindex("<") + 1 : -1].strip()
    text = text.casefold() if not text.isascii() else text.lower()
    text = text.removeprefix("mailto:").strip()
    if not text:
        return None
    if text.isascii():
        return text
    text = unicodedata.normalize("NFC", text)
    local, at, domain = text.rpartition("@")
    if not at or domain.isascii():
        return text
    try:
        return f"{local}@{idna.encode(domain, uts46=True).decode('ascii')}"
    except idna.IDNAError:
        return text


def mailbox(raw: str) -> str | None:
    """The key without what the provider ignores: jane.doe+x@googlemail.com is janedoe@gmail.com. For matching only."""
    text = key(raw)
    return None if text is None else _mailbox_of(text)


def _mailbox_of(address: str) -> str:
    local, at, domain = address.rpartition("@")
    if not at or domain not in _PROVIDERS:
        return address
    domain, separator, has_dots = _PROVIDERS[domain]
    local = local.partition(separator)[0] or local
    return f"{local.replace('.', '') if has_dots else local}@{domain}"


def is_role(raw: str) -> bool:
    """True for info@, reception@ and the like: the address of a desk that many people share."""
    return _is_desk((key(raw) or "").rpartition("@")[0])


def _is_desk(local: str) -> bool:
    local = local.partition("+")[0]
    return local in ROLES or local.replace(".", "").replace("_", "").replace("-", "") in ROLES


def personal(address: str) -> str | None:
    """The mailbox of an address in its normalized form (its `key`), or None for a desk's and for what is no address."""
    local, at, _ = address.rpartition("@")
    return None if not at or _is_desk(local) else _mailbox_of(address)


def domain(raw: str) -> str | None:
    """The part after the @, or None."""
    return (key(raw) or "").rpartition("@")[2] or None if "@" in raw else None


def problem(raw: str) -> str | None:
    """Why this is no valid address, for a person and without the address; None when it is fine. No DNS, about 20 us."""
    return read(raw).reason


@lru_cache(maxsize=1)
def parser() -> str:
    return f"email-validator {version('email-validator')}"


@lru_cache(maxsize=8192)
def read(raw: str) -> Normalized:
    """The address in lower case with its domain in IDNA form, or why it is none. canonical is `key`'s spelling."""
    found = key(raw)
    if found is None:
        return refused(raw, parser(), "it is blank")
    local, at, host = found.rpartition("@")
    if not at:
        return refused(raw, parser(), "it has no @")
    if not _is_valid(found):
        # The library's own sentences show characters of the address.
        if not _is_valid(f"{local}@example.com"):
            return refused(raw, parser(), "what stands before the @ is no mailbox")
        return refused(raw, parser(), "what stands after the @ is no domain" if host else "nothing stands after the @")
    is_bare = raw.strip().lower() == found
    return Normalized(raw, found, parser(), 1.0 if is_bare else 0.9)


def _is_valid(address: str) -> bool:
    from email_validator import EmailNotValidError, validate_email

    try:
        validate_email(address, check_deliverability=False)
    except (EmailNotValidError, UnicodeError):  # a lone surrogate is no text that could be encoded
        return False
    return True
