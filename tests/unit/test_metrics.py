"""The declarations of the metrics keep to Prometheus's conventions."""

from __future__ import annotations

import re

from prometheus_client import Histogram
from prometheus_client.metrics import MetricWrapperBase

from tallystick.monitoring import metrics

_LABELS = {
    "outcome", "method", "route", "status", "resource", "type", "code", "loop", "cause", "kind", "list",
    "currency", "version", "role",
}  # fmt: skip
"""Each has few values. A label that is new here must be thought about: every value is a series."""


def test_names_are_ours_and_each_is_declared_once() -> None:
    counted = [each for each in vars(metrics).values() if isinstance(each, MetricWrapperBase)]
    names = [family.name for each in counted for family in each.describe()]
    names += [reading.name for reading in metrics.READINGS]
    assert len(names) == len(set(names))
    assert len(counted) > 20
    for name in names:
        assert re.fullmatch(r"tallystick_[a-z]+(_[a-z]+)*", name), name
        assert not re.search(r"_(ms|minutes|hours|milliseconds|kilobytes)\b", name), name


def test_counters_say_so_and_histograms_are_of_seconds() -> None:
    for each in vars(metrics).values():
        if isinstance(each, Histogram):
            assert [family.name.rpartition("_")[2] for family in each.describe()] == ["seconds"]
    for reading in metrics.READINGS:
        assert (reading.kind == "counter") == reading.name.endswith("_total"), reading.name


def test_labels_are_known_and_few() -> None:
    for each in vars(metrics).values():
        names = each._labelnames if isinstance(each, MetricWrapperBase) else ()
        assert set(names) <= _LABELS, each
    for reading in metrics.READINGS:
        assert set(reading.labels) <= _LABELS, reading.name
        assert len(reading.documentation) > 10
