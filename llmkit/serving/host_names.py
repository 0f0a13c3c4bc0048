"""Which names a server answers to.

A page of another site can have its own name point to this machine (DNS rebinding), and the browser then takes the
server for a part of that site. The request still says the name that was asked for, as ``Host``.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable

from llmkit.errors import UsageError

LOOPBACK = ("127.0.0.1", "::1", "localhost")
"""Hosts that nobody but this machine reaches."""

# A name, an IPv4 address or an IPv6 address in brackets; a name may end in the dot of the root, and a port may follow.
_HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([\w-]+(?:\.[\w-]+)*)\.?)(?::\d*)?", re.ASCII | re.IGNORECASE)


def name_in(host: str) -> str | None:
    """Return the name, or the address without brackets, in ``NAME[:PORT]``; None where there is none."""
    found = _HOST.fullmatch(host)
    return None if found is None else (found[1] or found[2]).lower()


def names_given(said: Iterable[str]) -> tuple[str, ...]:
    """Return the names of ``--allow-host``.

    Raises:
        UsageError: one is no name.
    """
    names = []
    for each in said:
        name = name_in(_in_brackets(each))
        if name is None:
            raise UsageError(f"--allow-host {each}: give a name alone, such as gpu-box.example.org.")
        names.append(name)
    return tuple(names)


def names_answered_to(host: str, bound: str, given: Iterable[str]) -> frozenset[str] | None:
    """Return the names that a server answers to; None for any.

    Args:
        host: where it was told to listen.
        bound: the address that this came to.
        given: by ``--allow-host``.
    """
    if ipaddress.ip_address(bound).is_loopback:
        return frozenset((*LOOPBACK, host.lower(), bound, *given))
    return frozenset(given) or None


def address(host: str, port: int) -> str:
    """Return the address at which a browser finds a server."""
    return f"http://{_in_brackets(host)}:{port}"


def _in_brackets(host: str) -> str:
    return f"[{host}]" if host.count(":") > 1 and not host.startswith("[") else host
