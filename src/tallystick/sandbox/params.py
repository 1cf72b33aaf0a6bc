"""Parameters: what a call takes, checked and typed as Stripe does.

A *check* takes the decoded value and its name in brackets (``card[exp_month]``) and returns it typed, or
raises a StripeError (400). ``Params`` is a table of them; a name that is not in it is ``parameter_unknown``,
so what the sandbox does not do is refused rather than passed over.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from tallystick import money
from tallystick.sandbox.errors import StripeError, invalid, unknown_parameter
from tallystick.sandbox.forms import Form

Check = Callable[[Any, str], Any]

_MAX_KEYS: Final = 50


def _plain(value: Any, name: str) -> str:
    """A string that is not empty: an empty one would unset what cannot be unset."""
    if not isinstance(value, str):
        raise invalid(f"Invalid string: {value}", param=name)
    if value == "":
        raise invalid(
            f"You passed an empty string for '{name}'. We assume empty values are an attempt to unset a"
            f" parameter; however '{name}' cannot be unset. You should remove '{name}' from your request or"
            " supply a non-empty value.",
            param=name,
            code="parameter_invalid_empty",
        )
    return value


def text(limit: int = 5000) -> Check:
    """A string of at most ``limit`` characters."""

    def check(value: Any, name: str) -> str:
        plain = _plain(value, name)
        if len(plain) > limit:
            raise invalid(f"Invalid string: {plain[:20]}…; must be at most {limit} characters", param=name)
        return plain

    return check


def integer(value: Any, name: str) -> int:
    """An integer."""
    plain = _plain(value, name)
    try:
        return int(plain)
    except ValueError:
        raise invalid(f"Invalid integer: {plain}", param=name, code="parameter_invalid_integer") from None


def boolean(value: Any, name: str) -> bool:
    """``true`` or ``false``."""
    plain = _plain(value, name)
    if plain not in ("true", "false"):
        raise invalid(f"Invalid boolean: {plain}", param=name)
    return plain == "true"


def currency(value: Any, name: str) -> str:
    """A lower-case code of a currency that Stripe takes; upper case is accepted."""
    code = _plain(value, name).lower()
    if code not in money.CURRENCIES:
        known = ", ".join(sorted(money.CURRENCIES))
        raise invalid(
            f"Invalid currency: {code}. Stripe currently supports these currencies: {known}", param=name
        )
    return code


_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s]+")


def email(limit: int = 5000) -> Check:
    """An e-mail address."""

    def check(value: Any, name: str) -> str:
        plain: str = text(limit)(value, name)
        if _EMAIL.fullmatch(plain) is None:
            raise invalid(f"Invalid email address: {plain}", param=name, code="email_invalid")
        return plain

    return check


def descriptor(value: Any, name: str) -> str:
    """What is shown on a statement: up to 22 characters that banks can show, a letter among them."""
    plain: str = text(22)(value, name)
    if set(plain) & set("<>\\'\"*"):
        raise invalid(
            "The statement descriptor can't contain any of the following characters: <, >, \\, ', \", *.",
            param=name,
        )
    if not any(char.isalpha() for char in plain):
        raise invalid("The statement descriptor must contain at least one letter.", param=name)
    return plain


def listed(words: Sequence[str]) -> str:
    """``a``, ``a or b``, ``a, b, or c``: choices as Stripe's errors name them."""
    if len(words) < 3:
        return " or ".join(words)
    return f"{', '.join(words[:-1])}, or {words[-1]}"


def one_of(*choices: str) -> Check:
    """One of a few words."""

    def check(value: Any, name: str) -> str:
        plain = _plain(value, name)
        if plain not in choices:
            raise invalid(f"Invalid {name}: must be one of {listed(choices)}", param=name)
        return plain

    return check


def clearable(inner: Check) -> Check:
    """An empty value unsets: it reads as None."""

    def check(value: Any, name: str) -> Any:
        return None if value == "" else inner(value, name)

    return check


def list_of(inner: Check) -> Check:
    """A list."""

    def check(value: Any, name: str) -> list[Any]:
        if not isinstance(value, list):
            raise invalid("Invalid array", param=name)
        return [inner(item, f"{name}[{index}]") for index, item in enumerate(value)]

    return check


def metadata(value: Any, name: str) -> dict[str, str]:
    """Metadata as sent: an empty value deletes its key; an empty string for the whole deletes all."""
    if value == "":
        return {"": ""}
    if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
        raise invalid("Invalid object", param=name)
    for key, item in value.items():
        if len(key) > 40 or len(item) > 500:
            raise invalid(
                f"Metadata values can have up to 500 characters, and keys up to 40 (key '{key[:40]}').",
                param=name,
            )
    if len(value) > _MAX_KEYS:
        raise invalid(f"Metadata can have at most {_MAX_KEYS} keys.", param=name)
    return value


def json_metadata(value: Any, name: str) -> dict[str, str | None]:
    """Metadata in a JSON body (v2): null deletes a key."""
    if not isinstance(value, dict) or not all(
        item is None or isinstance(item, str) for item in value.values()
    ):
        raise invalid(f"{name} must be an object of strings.", param=name)
    metadata({key: item for key, item in value.items() if item is not None}, name)
    return value


def merged_metadata(old: Mapping[str, str] | None, sent: Mapping[str, str]) -> dict[str, str]:
    """What ``sent`` makes of ``old``; see ``metadata``."""
    if "" in sent:
        return {}
    return {key: item for key, item in {**(old or {}), **sent}.items() if item != ""}


class Params:
    """A call's parameters by name. Calling it checks a hash, so that tables nest."""

    def __init__(self, fields: Mapping[str, Check], *, required: tuple[str, ...] = ()) -> None:
        self.fields = fields
        self._required = required

    def __call__(self, value: Any, name: str = "") -> dict[str, Any]:
        if not isinstance(value, dict):
            raise invalid("Invalid object", param=name)
        typed = {}
        for key, item in value.items():
            inner = f"{name}[{key}]" if name else key
            check = self.fields.get(key)
            if check is None:
                raise unknown_parameter(inner)
            typed[key] = check(item, inner)
        for key in self._required:
            if key not in typed:
                inner = f"{name}[{key}]" if name else key
                raise invalid(f"Missing required param: {inner}.", param=inner, code="parameter_missing")
        return typed


def exactly_one(params: Form, *names: str) -> str:
    """Which of ``names`` was given; 400 when none or several were."""
    given = [name for name in names if name in params]
    if len(given) == 1:
        return given[0]
    shown = ", ".join(names)
    if given:
        raise invalid(f"You may only specify one of these parameters: {shown}.", param=given[1])
    raise StripeError(
        400, f"One of the following params should be provided for this request: {shown}.", param=names[0]
    )


_RANGE: Final = Params(dict.fromkeys(("gt", "gte", "lt", "lte"), integer))


def created(value: Any, name: str) -> dict[str, int]:
    """A time or a range of times, as ``{"gte": …, "lt": …}``; inclusive and exclusive bounds."""
    if isinstance(value, dict):
        return _RANGE(value, name)
    moment = integer(value, name)
    return {"gte": moment, "lte": moment}


def _limit(value: Any, name: str) -> int:
    number = integer(value, name)
    if number < 1:
        problem = "This value must be greater than or equal to 1."
        raise invalid(problem, param=name, code="parameter_invalid_integer")
    if number > 100:
        problem = f"This value must be less than or equal to 100 (it currently is '{number}')."
        raise invalid(problem, param=name, code="parameter_invalid_integer")
    return number


def listing(**filters: Check) -> Params:
    """What a list takes: its own filters, and limit, starting_after and ending_before."""
    return Params({**filters, "limit": _limit, "starting_after": text(), "ending_before": text()})


ADDRESS: Final = Params(
    dict.fromkeys(("city", "country", "line1", "line2", "postal_code", "state"), clearable(text()))
)
SHIPPING: Final = Params(
    {
        "address": ADDRESS,
        "carrier": clearable(text()),
        "name": text(),
        "phone": clearable(text()),
        "tracking_number": clearable(text()),
    },
    required=("address", "name"),
)


def whole_address(sent: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """An address with all six fields, null where nothing was sent."""
    return None if sent is None else {key: sent.get(key) for key in ADDRESS.fields}


def whole_shipping(sent: Mapping[str, Any] | None, *, full: bool = True) -> dict[str, Any] | None:
    """Shipping as an object shows it. ``full`` adds carrier and tracking number, which customers lack."""
    if sent is None:
        return None
    shown = {"address": whole_address(sent["address"]), "name": sent["name"], "phone": sent.get("phone")}
    if full:
        shown |= {"carrier": sent.get("carrier"), "tracking_number": sent.get("tracking_number")}
    return shown
