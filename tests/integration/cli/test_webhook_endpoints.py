"""``tallystick webhook-endpoints``: what the API shows, and the secret once."""

from __future__ import annotations

from tests.integration.cli.test_commands import answered, tallystick


def test_an_endpoint_from_making_to_removing(database_url: str) -> None:
    env = {"DATABASE_URL": database_url}
    options = ("--type", "refund.*", "--type", "payment.failed", "--description", "Orders")
    made = answered("webhook-endpoints", "create", "https://example.com/hook", *options, **env)
    assert made["secret"].startswith("whsec_")
    assert made["event_types"] == ["payment.failed", "refund.*"]
    (listed,) = answered("webhook-endpoints", "list", **env)["data"]
    assert listed == {name: value for name, value in made.items() if name != "secret"}
    rotated = answered("webhook-endpoints", "rotate-secret", made["id"], "--grace-hours", "1", **env)
    assert rotated["secret"] not in (None, made["secret"])
    assert tallystick("webhook-endpoints", "disable", made["id"], **env).returncode == 0
    assert "disabled (by_hand)" in tallystick("webhook-endpoints", "list", **env).stdout
    assert tallystick("webhook-endpoints", "enable", made["id"], **env).returncode == 0
    assert answered("webhook-endpoints", "deliveries", made["id"], **env)["data"] == []
    assert "Deliveries: none." in tallystick("webhook-endpoints", "deliveries", made["id"], **env).stdout
    assert tallystick("webhook-endpoints", "delete", made["id"], **env).returncode == 0
    assert "none" in tallystick("webhook-endpoints", "list", **env).stdout


def test_what_is_refused_is_said_in_words(database_url: str) -> None:
    env = {"DATABASE_URL": database_url}
    private = tallystick("webhook-endpoints", "create", "https://127.0.0.1/", **env)
    assert (private.returncode, "private" in private.stderr) == (1, True)
    allowed = tallystick(
        "webhook-endpoints", "create", "http://127.0.0.1/", TALLYSTICK_WEBHOOKS_ALLOW_PRIVATE="true", **env
    )
    assert allowed.returncode == 0
    assert allowed.stdout.startswith("whsec_")
    unknown = tallystick("webhook-endpoints", "create", "https://example.com", "--type", "nothing", **env)
    assert unknown.returncode == 2
    for command in ("enable", "disable", "delete", "deliveries", "rotate-secret"):
        missing = tallystick("webhook-endpoints", command, "whe_none", **env)
        assert (missing.returncode, "no webhook endpoint" in missing.stderr) == (1, True), command
