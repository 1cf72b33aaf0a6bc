"""Which addresses a merchant's endpoint may have: those of the public internet, and others if allowed.

Whoever can name a URL could otherwise have us call what only we can reach: the machine's own services, the
private network, a cloud's metadata service. A name is resolved by others and may resolve differently a moment
later, so the address is judged when the socket to it is made, and by nothing else.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import Any, Final

_NEVER: Final = tuple(
    ipaddress.ip_network(network)
    for network in (
        "192.0.0.0/24",  # IETF protocols; a metadata service of Oracle is among them
        "168.63.129.16/32",  # Azure's metadata and DNS, a public address that only leads inside
        "192.88.99.0/24",  # relays of 6to4
        "100::/64",  # discards all
        "64:ff9b:1::/48",  # a network's own IPv4 behind NAT64
        "2001::/23",  # IETF protocols, Teredo among them
        "2001:db8::/32",  # documentation
        "3fff::/20",
        "5f00::/16",  # segment routing
        "fec0::/10",  # site-local
        "::/96",  # IPv4-compatible, long out of use
    )
)
_OWN: Final = tuple(
    ipaddress.ip_network(network)
    for network in (
        "127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10",
        "::1/128", "fc00::/7",
    )
)  # fmt: skip
_METADATA: Final = frozenset(map(ipaddress.ip_address, ("100.100.100.200", "fd00:ec2::254")))
"""Metadata services of clouds within those networks; the others are link-local."""
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")


class AddressRefusedError(OSError):
    """The address is not one of the public internet."""


def is_public(address: str) -> bool:
    """Whether an IP address, as text, is one that anybody can reach. Raises ValueError for other text."""
    found = ipaddress.ip_address(address)
    if isinstance(found, ipaddress.IPv6Address):
        if found.scope_id is not None:
            return False
        inner = found.ipv4_mapped or found.sixtofour
        if found in _NAT64:
            inner = ipaddress.IPv4Address(int(found) & 0xFFFF_FFFF)
        if inner is not None:  # IPv4 in IPv6 leads where the IPv4 address leads
            return is_public(str(inner))
    if found.is_multicast or found.is_unspecified or found.is_reserved or found.is_loopback:
        return False
    return found.is_global and not any(found in network for network in _NEVER)


def is_own(address: str) -> bool:
    """Whether an IP address is one of this machine or of a private network, and no metadata service.

    Such may be allowed; link-local addresses, where clouds have theirs, never are. Raises ValueError.
    """
    found = ipaddress.ip_address(address)
    return found not in _METADATA and any(found in network for network in _OWN)


def judged_socket(
    address_info: tuple[Any, Any, int, str, tuple[Any, ...]], *, own: bool = False
) -> socket.socket:
    """A socket for the address, as aiohttp asks for right before it connects; raises AddressRefusedError.

    ``own``: addresses of this machine and of private networks are allowed too.
    """
    family, kind, protocol, _, (host, *_) = address_info
    inet = family in (socket.AF_INET, socket.AF_INET6)
    if not inet or not (is_public(host) or (own and is_own(host))):
        raise AddressRefusedError("the address is not a public one")
    return socket.socket(family, kind, protocol)
