"""Times that pages of the ledger are asked for: days of UTC, both included, or an instant."""

from __future__ import annotations

from datetime import date, datetime

from tallystick.console.fields import Time
from tallystick.console.visits import Query
from tallystick.errors import InvalidRequestError
from tallystick.ledger.balances import before
from tallystick.ledger.export.books import Period


class Days(Query):
    """From the first day to the last, both included; None is open."""

    first: date | None = None
    last: date | None = None

    def bounds(self) -> tuple[datetime | None, datetime | None]:
        """From which instant on, and before which. Raises InvalidRequestError for an empty period."""
        period = Period(self.first, self.last)
        return (period.begins if self.first else None, period.ends if self.last else None)


class AsOf(Query):
    """What stood at the end of a day, or at an instant; now, if neither is given."""

    on: date | None = None
    at: Time | None = None

    def instant(self) -> datetime | None:
        """The last instant that counts. Raises InvalidRequestError when both are given."""
        if self.on is not None and self.at is not None:
            raise InvalidRequestError("Ask at the end of a day or at an instant, not both.", param="at")
        return before(Period(last=self.on).ends) if self.on is not None else self.at
