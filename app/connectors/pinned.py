"""Connections to addresses that were looked at first: a name is resolved, every address it has is judged, one of them is connected to.

The judged address and the connected one are the same value, so that a name which resolves differently the second time (rebinding)
gains nothing. Addresses of private networks and of this machine are refused unless an operator allows them for a connection;
link-local ones, among them the metadata services of clouds, multicast and reserved ones are refused to everyone. Of IPv6 only what is
routed between networks (2000::/3) is public, whatever else a library takes for global: old ways to write an IPv4 address, site-local
ones, private translators.

It refuses to be: a proxy. It knows addresses and ports, no protocol.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Iterable
from typing import Any

import httpcore2

from app.connectors.stream import connect

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_PRIVATE = tuple(
    map(
        ipaddress.ip_network,
        ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "::1/128", "fc00::/7"),
    )
)
_ROUTED = ipaddress.ip_network("2000::/3")
_METADATA = frozenset(
    map(ipaddress.ip_address, ("169.254.169.254", "fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "168.63.129.16", "192.0.0.192"))
)


class AddressRefused(Exception):
    """The host has an address that may not be connected to. The message names no address: it may be looked up by who may know."""


def may_connect(text: str, *, private: bool) -> bool:
    """Whether this address may be connected to; `private`: those of private networks and of this machine, too."""
    address = _innermost(ipaddress.ip_address(text.partition("%")[0]))
    if address in _METADATA or address.is_link_local or address.is_multicast or address.is_unspecified:
        return False
    if address.is_global and (address.version == 4 or address in _ROUTED):
        return True
    return private and any(address in network for network in _PRIVATE)


def _innermost(address: Address) -> Address:
    """What an IPv6 address stands for where it wraps an IPv4 one."""
    if isinstance(address, ipaddress.IPv6Address):
        wrapped = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
        if wrapped is None and address in _NAT64:
            wrapped = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        return wrapped or address
    return address


async def resolve(host: str, port: int, *, private: bool) -> list[str]:
    """The addresses of a host, all of them allowed. Raises AddressRefused, OSError where the name has none."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    if not addresses or not all(may_connect(address, private=private) for address in addresses):
        raise AddressRefused("the host has an address of a private network or of this machine")
    return addresses


class PinnedBackend(httpcore2.AsyncNetworkBackend):
    """What httpcore connects through. TLS is still asked for by the host's name."""

    def __init__(self, *, private: bool) -> None:
        self._private = private

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  # httpcore's interface
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Connect to the first address that answers. Raises AddressRefused, httpcore2.ConnectError or ConnectTimeout."""
        try:
            addresses = await resolve(host, port, private=self._private)
        except OSError as error:
            raise httpcore2.ConnectError(f"the host has no address: {type(error).__name__}") from None
        failure: Exception = httpcore2.ConnectError("no address answers")
        for address in addresses:
            try:
                return await connect(address, port, timeout, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
        raise failure

    async def connect_unix_socket(self, *_args: Any, **_kwargs: Any) -> httpcore2.AsyncNetworkStream:
        """Refused: nothing outside listens there."""
        raise AddressRefused("local sockets are not connected to")

    async def sleep(self, seconds: float) -> None:
        """For httpcore's own retries, of which there are none."""
        await asyncio.sleep(seconds)
