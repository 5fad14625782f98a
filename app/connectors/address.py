"""Canonical e-mail addresses: one spelling for what is obviously one mailbox, since effect keys are computed from it.

Trimmed, NFC, without quotes that are not needed, in lower case; the domain in its ASCII (IDNA) form, at most 64 characters before
the @ and 254 in all. The local part is lowered too: RFC 5321 lets a host tell `Ann` from `ann`, none in practice does, and two
mails to one person are the harm that keys exist to prevent. Tags (`ann+x`) and dots stay: what they mean is the provider's.

Changing what this returns changes effect keys: it needs a migration of the ledger, not a patch.

It refuses to be: a check that a mailbox exists. Nothing is looked up.
"""

from __future__ import annotations

import re
import unicodedata

from email_validator import SPECIAL_USE_DOMAIN_NAMES as _SPECIAL
from email_validator import EmailNotValidError, validate_email

_LONGEST = 254
_LONGEST_LOCAL = 64
_ATOM = r"[a-z0-9_!#$%&'*+\-/=?^`{|}~]+"
_LABEL = r"[a-z0-9](?:-?[a-z0-9])*"  # no two hyphens in a row: such labels may be punycode, and go the long way
_PLAIN = re.compile(rf"(?P<local>{_ATOM}(?:\.{_ATOM})*)@(?P<domain>(?:{_LABEL}\.)+(?P<top>[a-z]{{2,63}}))")


class BadAddress(ValueError):
    """Not an address that mail can be sent to; the message says why, in one line without the address."""


def canonical_address(text: str) -> str:
    """The canonical spelling of `text`. Raises BadAddress. About 2 µs for a plain ASCII address, 40 to 100 µs for any other."""
    lowered = text.strip().lower()
    plain = _PLAIN.fullmatch(lowered)
    if plain and _short(plain["local"], plain["domain"]) and plain["top"] not in _SPECIAL:
        return lowered
    return by_the_book(text)


def by_the_book(text: str) -> str:
    """The same by `email_validator` alone: what the fast way must agree with (a test compares them). Raises BadAddress."""
    try:
        found = validate_email(
            unicodedata.normalize("NFC", text.strip()),
            check_deliverability=False,
            allow_quoted_local=True,
            allow_display_name=False,
            allow_domain_literal=False,
            strict=True,
        )
    except EmailNotValidError as error:
        raise BadAddress(str(error)) from None
    if found.local_part.startswith('"'):
        raise BadAddress("Addresses whose first part needs quotes are not supported.")
    if not found.ascii_domain:
        raise BadAddress("The domain has no ASCII form.")
    address = f"{unicodedata.normalize('NFC', found.local_part.lower())}@{found.ascii_domain.lower()}"
    if len(address.encode()) > _LONGEST:
        raise BadAddress(f"The address is longer than {_LONGEST} bytes.")
    return address


def _short(local: str, domain: str) -> bool:
    fits = len(local) <= _LONGEST_LOCAL and len(local) + 1 + len(domain) <= _LONGEST and len(domain) <= 253
    return fits and (len(domain) <= 63 or max(map(len, domain.split("."))) <= 63)
