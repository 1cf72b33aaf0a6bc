"""The core by itself: forms, ids, the clock, the store, settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.sandbox import cards, families, versions
from tallystick.sandbox.clock import ManualClock
from tallystick.sandbox.errors import StripeError
from tallystick.sandbox.forms import decode
from tallystick.sandbox.ids import Ids, base62, stem_of
from tallystick.sandbox.routing import Router
from tallystick.sandbox.settings import Settings
from tallystick.sandbox.store import Store, TableSpec


@pytest.mark.parametrize(
    ("raw", "form"),
    [
        ("", {}),
        ("a=1&b=", {"a": "1", "b": ""}),
        ("a[b][c]=1&a[d]=2", {"a": {"b": {"c": "1"}, "d": "2"}}),
        ("a[]=1&a[]=2", {"a": ["1", "2"]}),
        ("a[1]=y&a[0]=x", {"a": ["x", "y"]}),
        ("a[0][b]=1&a[1][b]=2", {"a": [{"b": "1"}, {"b": "2"}]}),
        ("expand[]=data.source&x%5By%5D=%26+%C3%A9", {"expand": ["data.source"], "x": {"y": "& é"}}),
    ],
)
def test_forms(raw: str, form: Any) -> None:
    assert decode(raw) == decode(raw.encode()) == form


def test_a_form_that_contradicts_itself() -> None:
    with pytest.raises(StripeError):
        decode("a=1&a[b]=2")


words = st.text("abcdefÄéあ", min_size=1, max_size=5)
leaves = st.text(max_size=5)
forms = st.dictionaries(
    words,
    st.recursive(leaves, lambda inner: st.dictionaries(words, inner, min_size=1, max_size=3), max_leaves=6),
    max_size=4,
)


@given(forms)
def test_forms_survive_encoding(form: dict[str, Any]) -> None:
    pairs: list[tuple[str, str]] = []

    def flatten(name: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, item in value.items():
                flatten(f"{name}[{key}]" if name else key, item)
        else:
            pairs.append((name, value))

    flatten("", form)
    assert decode(urlencode(pairs)) == form


def test_ids_sort_by_time_and_share_a_stem() -> None:
    clock = ManualClock()
    ids = Ids(None, clock.now)
    first = ids.new_payment("pi")
    clock.advance(0.002)
    second = ids.new_payment("pi")
    assert first < second
    assert len(first) == len("pi_3SRzp4KXBGcbgpbZ1utYtuTe")
    assert stem_of(ids.new("ch", of=first)) == stem_of(first) != stem_of(second)
    assert [base62(61, 2), base62(62, 2)] == ["0z", "10"]


def test_the_clock_rings_in_order() -> None:
    clock, heard = ManualClock(start=0), []
    clock.call_at(2, lambda: heard.append(("two", clock.now())))
    clock.call_at(1, lambda: heard.append(("one", clock.now())))
    clock.call_at(3, lambda: heard.append(("three", clock.now()))).cancel()
    clock.advance(5)
    assert heard == [("one", 1), ("two", 2)]
    assert clock.now() == 5


def test_the_store_undoes_and_remembers(tmp_path: Path) -> None:
    spec = TableSpec("charge", "charge", indexes=("customer",))
    store = Store([spec], tmp_path / "x.sqlite3")
    store.put({"id": "ch_1", "object": "charge", "created": 1, "customer": None}, {"number": "4242"})
    charge = store.put({"id": "ch_2", "object": "charge", "created": 2, "customer": "cus_1"})
    gone = store.put({"id": "ch_3", "object": "charge", "created": 3, "customer": "cus_1"})
    store.commit()
    assert store.change(charge, customer="cus_2", created=2) == {"customer": "cus_1"}
    store.put({"id": "ch_4", "object": "charge", "created": 4, "customer": "cus_2"})
    store.remove(gone)
    store.rollback()
    assert charge["customer"] == "cus_1"
    assert [row["id"] for row in store.tables["charge"].having("customer", "cus_1")] == ["ch_2", "ch_3"]
    assert store.tables["charge"].order == ["ch_1", "ch_2", "ch_3"]
    store.change(charge, customer="cus_2")
    store.remove(gone)
    store.commit()
    store.close()

    again = Store([spec], tmp_path / "x.sqlite3")
    again.load()
    assert list(again.tables["charge"].rows) == ["ch_1", "ch_2"]
    assert again.gone("charge", "ch_3") == {"id": "ch_3", "object": "charge", "deleted": True}
    assert again.get("charge", "ch_2") == charge
    assert again.hidden({"id": "ch_1"}) == {"number": "4242"}
    again.close()


def test_fees_scale_with_the_currency() -> None:
    account = Settings()
    assert account.fee(2000, "usd") == 88
    assert account.fee(1000, "jpy") == 59
    assert account.fee(10_000, "kwd") == 590


def test_every_route_is_found() -> None:
    routes = families.routes()
    router = Router(routes)
    for route in routes:
        found, ids = router.find(route.method, route.path.replace("{}", "x_1"))
        assert found is route
        assert len(ids) == route.path.count("{}")
    for method, path in (("GET", "/v1"), ("PATCH", "/v1/charges"), ("GET", "/v1/charges//refunds")):
        with pytest.raises(StripeError):
            router.find(method, path)


def test_cards() -> None:
    assert len(cards.BY_NUMBER) > 30
    unknown = cards.by_number("4111 1111 1111 1111")
    assert unknown is not None
    assert unknown.brand == "visa"
    assert cards.by_number("4111111111111112") is None
    assert cards.by_magic_id("tok_visa") is cards.by_magic_id("pm_card_visa")


def test_versions() -> None:
    assert versions.known("2026-10-28.endive")
    assert not versions.known("newest")
    assert versions.since("2026-10-28.endive", versions.ENDIVE)
    assert not versions.since("2026-03-25.dahlia", versions.ENDIVE)


def test_a_seed_repeats_and_a_restart_does_not() -> None:
    clock = ManualClock()
    first, second = Ids(5, clock.now), Ids(5, clock.now)
    drawn = [first.new("pm"), first.short("cus"), first.new_payment("pi")]
    assert [second.new("pm"), second.short("cus"), second.new_payment("pi")] == drawn
    second.resume(first.drawn)
    assert second.new("pm") not in drawn
