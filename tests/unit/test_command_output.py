"""What commands print is what was meant, also where it looks like something else to rich."""

from __future__ import annotations

import pytest

from tallystick.cli.output import out, show


def test_names_between_colons_are_not_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    out.print("revenue:books: product prod_1")
    show("Accounts", ("account", "in"), [("revenue:gift:", "usd")])
    printed = capsys.readouterr().out
    assert "revenue:books: product" in printed
    assert "revenue:gift:" in printed
