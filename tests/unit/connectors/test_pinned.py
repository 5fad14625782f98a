"""Which addresses may be connected to: by everyone, by connections that an operator lets, by nobody."""

from __future__ import annotations

import pytest

from app.connectors.pinned import may_connect

PUBLIC = ("93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946", "::ffff:93.184.216.34", "64:ff9b::5db8:d822")
PRIVATE = ("127.0.0.1", "10.0.0.8", "172.16.3.4", "192.168.1.1", "100.64.0.9", "::1", "fd12::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1")
NEVER = (
    *("169.254.169.254", "169.254.1.1", "fe80::1", "fe80::1%eth0", "::ffff:169.254.169.254", "fd00:ec2::254", "100.100.100.200"),
    *("168.63.129.16", "192.0.0.192", "fd20:ce::254"),
    *("::7f00:1", "::a00:8", "::ffff:0:7f00:1", "fec0::1", "64:ff9b:1::7f00:1", "5f00::1", "4000::1"),
    *("0.0.0.0", "::", "224.0.0.1", "ff02::1", "255.255.255.255", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1"),
)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_connected_to(address: str) -> None:
    assert may_connect(address, private=False)


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_need_an_operator(address: str) -> None:
    assert not may_connect(address, private=False)
    assert may_connect(address, private=True)


@pytest.mark.parametrize("address", NEVER)
def test_some_addresses_nobody_may_connect_to(address: str) -> None:
    assert not may_connect(address, private=False)
    assert not may_connect(address, private=True)
