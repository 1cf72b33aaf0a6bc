"""The alert rules: of metrics that exist, each explained in docs/alerts.md, and each tried by promtool."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from prometheus_client.metrics import MetricWrapperBase

from tallystick.monitoring import metrics

RULES: Final = Path(str(files("tallystick.monitoring"))) / "alerts" / "tallystick.rules.yml"
TESTS: Final = RULES.with_name("tallystick.test.yml")
PAGE: Final = Path(__file__).parents[2] / "docs" / "alerts.md"
_NAME: Final = re.compile(r"\b(?:tallystick|process|python)_[a-z_]+\b")
_HISTOGRAM: Final = re.compile(r"_(bucket|count|sum)$")


def declared() -> Iterator[str]:
    """The name of every series that a process can show."""
    for each in vars(metrics).values():
        if isinstance(each, metrics.Reading):
            yield each.name
        elif isinstance(each, MetricWrapperBase):
            for family in each.describe():
                ends = {"histogram": ("_bucket", "_count", "_sum"), "counter": ("_total",)}
                yield from (family.name + end for end in ends.get(family.type, ("",)))
    yield from (sample.name for family in metrics.REGISTRY.collect() for sample in family.samples)


def unknown_names(expression: str) -> set[str]:
    """What an expression asks for and nothing shows; names of labels begin otherwise."""
    return set(_NAME.findall(expression)) - set(declared())


def rules() -> dict[str, Any]:
    """All alerts by name."""
    groups = yaml.safe_load(RULES.read_text("utf-8"))["groups"]
    found = [rule for group in groups for rule in group["rules"]]
    by_name = {rule["alert"]: rule for rule in found}
    assert len(by_name) == len(found)
    return by_name


@pytest.mark.parametrize("name", rules())
def test_an_alert_is_of_what_there_is_and_says_what_to_do(name: str) -> None:
    rule = rules()[name]
    assert _NAME.search(rule["expr"])
    assert not unknown_names(rule["expr"])
    assert rule["labels"]["severity"] in ("warning", "critical")
    told = rule["annotations"]
    assert set(told) == {"summary", "description", "runbook_url"}
    assert told["runbook_url"] == f"docs/alerts.md#{name.lower()}"


def test_each_has_a_section_and_a_try() -> None:
    sections = re.findall(r"^## (\w+)$", PAGE.read_text("utf-8"), re.MULTILINE)
    tried = [each["name"] for each in yaml.safe_load(TESTS.read_text("utf-8"))["tests"]]
    assert sorted(sections) == sorted(tried) == sorted(rules())


def test_a_misspelt_metric_is_found() -> None:
    assert unknown_names("sum(tallystick_no_such_thing) > 0") == {"tallystick_no_such_thing"}


@pytest.mark.parametrize("command", [("check", "rules", RULES.name), ("test", "rules", TESTS.name)])
def test_promtool_agrees(command: tuple[str, ...]) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed; on Debian it comes with the package prometheus")
    said = subprocess.run([promtool, *command], cwd=RULES.parent, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stdout + said.stderr
