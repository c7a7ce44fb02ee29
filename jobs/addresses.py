"""Whose an address is, for every limit that counts by address."""

from ipaddress import IPv6Address, IPv6Network, ip_address


def network_of(address: str) -> str:
    """The IPv4 address, or the /64 of an IPv6 address: whoever has one address of that has all. Anything else as it
    is."""
    try:
        ip = ip_address(address)
    except ValueError:
        return address
    if isinstance(ip, IPv6Address):
        return str(ip.ipv4_mapped or IPv6Network((int(ip) >> 64 << 64, 64)))
    return address
