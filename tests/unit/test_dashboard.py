"""The Grafana dashboard: whole, of metrics that exist, and showing every one of ours."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import pytest
from tests.unit.test_alert_rules import declared, unknown_names

DASHBOARD: Final = Path(str(files("tallystick.monitoring"))) / "grafana" / "tallystick.json"


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(DASHBOARD.read_text("utf-8"))
    return found


def panels() -> list[dict[str, Any]]:
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def expressions() -> list[str]:
    """What the panels ask of Prometheus."""
    return [target["expr"] for panel in panels() for target in panel["targets"]]


@pytest.mark.parametrize("expression", expressions())
def test_every_panel_is_of_what_there_is(expression: str) -> None:
    assert re.search(r"\b(tallystick|process)_", expression)
    assert not unknown_names(expression)


def test_every_metric_of_ours_is_shown() -> None:
    asked = " ".join(expressions())
    shown = set(re.findall(r"\btallystick_[a-z_]+", asked))
    families = {re.sub(r"_(bucket|count|sum)$", "", name) for name in declared()}
    shown = {re.sub(r"_(bucket|count|sum)$", "", name) for name in shown}
    missing = {name for name in families if name.startswith("tallystick_")} - shown
    # an age by kind and code is for the alert, the bounds of a list for the audit's
    assert missing == {
        "tallystick_dead_letters_oldest_seconds",
        "tallystick_stripe_list_read_through_timestamp_seconds",
    }


def test_panels_stand_beside_each_other() -> None:
    places = [panel["gridPos"] for panel in dashboard()["panels"]]
    taken = [
        (x, y)
        for place in places
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(taken) == len(set(taken))
    assert all(x < 24 for x, _ in taken)
    ids = [panel["id"] for panel in dashboard()["panels"]]
    assert len(ids) == len(set(ids))
    assert len({panel["title"] for panel in panels()}) == len(panels())
    assert {target["datasource"]["uid"] for panel in panels() for target in panel["targets"]} == {
        "${datasource}"
    }
