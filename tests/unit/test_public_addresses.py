"""Which addresses may be called, and that a URL cannot say otherwise."""

from __future__ import annotations

import socket

import pytest

from tallystick.pipeline.notices.public_addresses import AddressRefusedError, is_own, is_public, judged_socket
from tallystick.pipeline.notices.webhook_client import WebhookClient
from tallystick.settings import load_settings

PUBLIC = ("1.1.1.1", "8.8.8.8", "93.184.215.14", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8")
PRIVATE = (
    "127.0.0.1", "127.8.8.8", "0.0.0.1", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1",
    "169.254.169.254", "100.64.0.1", "100.100.100.200", "168.63.129.16", "192.0.0.192", "192.0.2.1",
    "198.18.0.1", "198.51.100.1", "203.0.113.1", "192.88.99.1", "224.0.0.1", "239.255.255.250", "240.0.0.1",
    "255.255.255.255", "::", "::1", "fe80::1", "fe80::1%eth0", "fd00:ec2::254", "fc00::1", "ff02::1",
    "fec0::1", "2001:db8::1", "2001::1", "100::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
    "::ffff:169.254.169.254", "::127.0.0.1", "2002:7f00:1::", "2002:0a00:0001::", "64:ff9b::10.0.0.1",
    "64:ff9b:1::8.8.8.8", "2606:4700:4700::1111%1",
)  # fmt: skip


@pytest.mark.parametrize("address", PUBLIC)
def test_addresses_of_the_public_internet(address: str) -> None:
    assert is_public(address)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    judged_socket((family, socket.SOCK_STREAM, 0, "", (address, 443))).close()


@pytest.mark.parametrize("address", PRIVATE)
def test_addresses_that_lead_inside(address: str) -> None:
    assert not is_public(address)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with pytest.raises(AddressRefusedError):
        judged_socket((family, socket.SOCK_STREAM, 0, "", (address, 443)))


OWN = ("127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "::1", "fd12:3456::1")


@pytest.mark.parametrize("address", PRIVATE)
def test_of_what_leads_inside_only_networks_of_ones_own_can_be_allowed(address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    info = (family, socket.SOCK_STREAM, 0, "", (address, 443))
    if address.startswith(("127.", "10.", "172.", "192.168.", "100.64.")) or address in ("::1", "fc00::1"):
        assert is_own(address)
        judged_socket(info, own=True).close()
        return
    with pytest.raises(AddressRefusedError):
        judged_socket(info, own=True)


@pytest.mark.parametrize("address", OWN)
def test_addresses_of_networks_of_ones_own(address: str) -> None:
    assert is_own(address)


@pytest.mark.parametrize("url", ["http://169.254.169.254/latest", "http://[fe80::1]/", "http://0.0.0.0/"])
def test_metadata_services_are_never_called(url: str) -> None:
    assert WebhookClient(load_settings({}, require=(), webhooks_allow_private=True)).fault_of(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/", "ftp://example.com/", "file:///etc/passwd", "https://", "https:///hook",
        "https://user:pass@example.com/", "https://user@example.com/", "https://127.0.0.1/",
        "https://[::1]/", "https://[::ffff:10.0.0.1]/", "https://169.254.169.254/latest", "https://localhost/",
        "https://api.localhost./", "https://metadata.google.internal/", "https://printer.local/",
        "https://example.com:99999/", "https://[::1/", "gopher://example.com/",
    ],
)  # fmt: skip
def test_urls_that_are_refused_before_anything_is_asked(url: str) -> None:
    assert WebhookClient(load_settings({}, require=())).fault_of(url)


@pytest.mark.parametrize(
    "url", ["https://example.com/", "https://example.com:8443/a?b=c", "https://1.1.1.1/"]
)
def test_urls_that_can_be_tried(url: str) -> None:
    assert WebhookClient(load_settings({}, require=())).fault_of(url) is None


def test_what_is_private_may_be_allowed_but_no_password() -> None:
    client = WebhookClient(load_settings({}, require=(), webhooks_allow_private=True))
    assert client.fault_of("http://127.0.0.1:80/") is None
    assert client.fault_of("http://user:pass@127.0.0.1:80/")
    assert client.fault_of("ftp://127.0.0.1/")
