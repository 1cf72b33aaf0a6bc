"""Objects that leave memory, with a data directory and without: they are as they were when they come back."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tallystick.sandbox import records
from tallystick.sandbox.store import Store, TableSpec

SPECS = (
    TableSpec("charge", "charge", indexes=("customer",)),
    TableSpec("payout", "payout", indexes=("status",), resident=True),
)


@pytest.fixture(autouse=True)
def _narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "KEPT", 4)


def charge(number: int, customer: str | None = None) -> dict[str, Any]:
    return {
        "id": f"ch_{number}",
        "object": "charge",
        "created": number,
        "customer": customer,
        "details": {"card": {"last4": f"{number:04}"}},
    }


def filled(path: Path | None) -> Store:
    """Forty charges of four customers and ten payouts; most charges are out of memory."""
    store = Store(SPECS, path)
    for number in range(40):
        store.put(charge(number, f"cus_{number % 4}"), {"secret": number} if number % 2 else None)
    for number in range(10):
        store.put({"id": f"po_{number}", "object": "payout", "created": number, "status": "paid"})
    store.commit()
    assert store.crowded
    store.make_room()
    assert not store.crowded
    return store


def numbers(found: list[dict[str, Any]]) -> list[int]:
    return [int(obj["id"].partition("_")[2]) for obj in found]


@pytest.mark.parametrize("lasting", [True, False])
def test_what_left_memory_is_found_changed_and_undone(tmp_path: Path, lasting: bool) -> None:
    store = filled(tmp_path / "x.sqlite3" if lasting else None)
    table = store.tables["charge"]
    assert len(table.rows.in_memory()) == 4
    assert len(store.tables["payout"].rows.in_memory()) == 10
    assert len(table.rows) == 40
    assert store.get("charge", "ch_3") == charge(3, "cus_3")
    assert store.hidden({"id": "ch_5"}) == {"secret": 5}
    assert numbers(table.having("customer", "cus_1")) == list(range(1, 40, 4))
    assert numbers(list(table.rows.values())) == list(range(40))

    first = store.get("charge", "ch_0")
    assert first is not None
    assert store.change(first, customer="cus_1") == {"customer": "cus_0"}
    store.rollback()
    assert first == charge(0, "cus_0")
    store.change(first, customer="cus_1", details={"new": True})
    store.remove(table.rows["ch_4"])
    store.commit()
    while store.crowded:
        store.make_room()
    assert table.rows.resident("ch_0") is None
    assert store.get("charge", "ch_0") == {**charge(0, "cus_1"), "details": {"new": True}}
    assert numbers(table.having("customer", "cus_1")) == [0, *range(1, 40, 4)]
    assert store.get("charge", "ch_4") is None
    assert store.gone("charge", "ch_4") == {"id": "ch_4", "object": "charge", "deleted": True}
    store.close()


@pytest.mark.parametrize("lasting", [True, False])
def test_a_photograph_has_what_is_out_of_memory_too(tmp_path: Path, lasting: bool) -> None:
    store = filled(tmp_path / "x.sqlite3" if lasting else None)
    taken = store.photograph()
    assert len(store.tables["charge"].rows.in_memory()) == 4  # taking it brings nothing back into memory
    store.clear()
    assert store.get("charge", "ch_1") is None
    store.restore(taken)
    store.commit()
    assert numbers(list(store.tables["charge"].rows.values())) == list(range(40))
    assert store.hidden({"id": "ch_39"}) == {"secret": 39}
    store.close()


def test_a_start_reads_no_object_that_can_stay_in_the_file(tmp_path: Path) -> None:
    filled(tmp_path / "x.sqlite3").close()
    store = Store(SPECS, tmp_path / "x.sqlite3")
    store.load()
    assert not store.tables["charge"].rows.in_memory()
    assert len(store.tables["payout"].rows.in_memory()) == 10
    assert store.objects == 50
    assert numbers(store.tables["charge"].having("customer", "cus_2")) == list(range(2, 40, 4))
    assert store.hidden({"id": "ch_7"}) == {"secret": 7}
    assert store.tables["charge"].in_time_order
    store.close()


def test_a_file_without_marks_is_read_whole_once(tmp_path: Path) -> None:
    filled(tmp_path / "x.sqlite3").close()
    with sqlite3.connect(tmp_path / "x.sqlite3") as file:
        file.execute("ALTER TABLE records DROP COLUMN marks")
    for started in range(2):
        store = Store(SPECS, tmp_path / "x.sqlite3")
        store.load()
        assert len(store.tables["charge"].rows.in_memory()) == (0 if started else 40)
        store.commit()
        assert numbers(list(store.tables["charge"].rows.values())) == list(range(40))
        assert store.hidden({"id": "ch_7"}) == {"secret": 7}
        store.close()
