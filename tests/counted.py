"""What a process has counted: by how much metrics move, since all tests of a process share one registry."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from prometheus_client.parser import text_string_to_metric_families

from tallystick.monitoring.metrics import REGISTRY

Series = tuple[str, frozenset[tuple[str, str]]]


class Moved:
    """The differences between the beginning of a block and now."""

    def __init__(self) -> None:
        self._before = _all()

    def by(self, name: str, **labels: str) -> float:
        """How much a series has moved; 0 for one that is not there."""
        series = (name, frozenset(labels.items()))
        return _all().get(series, 0.0) - self._before.get(series, 0.0)

    def family(self, name: str, label: str) -> dict[str, float]:
        """How much each series of a name has moved that did, by the value of a label."""
        found: dict[str, float] = {}
        for (known, labels), value in _all().items():
            change = value - self._before.get((known, labels), 0.0)
            if known == name and change:
                key = dict(labels)[label]
                found[key] = found.get(key, 0.0) + change
        return found


@contextmanager
def counted() -> Iterator[Moved]:
    """What is counted from here on."""
    yield Moved()


def parsed(text: str) -> Mapping[Series, float]:
    """An answer to a scrape, as Prometheus reads it."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(text: str, name: str, **labels: str) -> float | None:
    """A series of an answer to a scrape; None if it is not there."""
    return parsed(text).get((name, frozenset(labels.items())))


def _all() -> dict[Series, float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in REGISTRY.collect()
        for sample in family.samples
    }
