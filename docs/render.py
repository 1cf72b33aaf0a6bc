"""Writes the tables of the docs that come from the code, between ``<!-- generated: NAME -->`` and
``<!-- end -->``. ``make docs`` runs it; ``--check`` only says which files are out of date.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import itertools
import json
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import typer
from prometheus_client.metrics import MetricWrapperBase
from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from tallystick import errors
from tallystick.api.documents import build_api
from tallystick.api.routing import SCOPE
from tallystick.app import open_app
from tallystick.cli import build
from tallystick.events.catalog import EVENTS
from tallystick.events.posting_table import FEE_ACCOUNTS, IN_SUSPENSE, POSTING_TABLE
from tallystick.ledger import chart
from tallystick.monitoring import metrics as monitoring
from tallystick.outbox.notices import NOTICES
from tallystick.sandbox import control
from tallystick.sandbox import families as sandbox_families
from tallystick.sandbox.settings import Settings as SandboxSettings
from tallystick.settings import CONNECTIONS, Settings, variable_name
from tallystick.stripe_gateway.permissions import FOR_ADOPTION, FOR_DOCTOR, NEEDED

ROOT: Final = Path(__file__).parent.parent
_BLOCK: Final = re.compile(r"(<!-- generated: (?P<name>[a-z-]+) -->\n)(?P<body>.*?)(<!-- end -->)", re.DOTALL)


def pages() -> list[Path]:
    """Every page that can hold generated tables."""
    return [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def rendered(text: str) -> str:
    """A page's text with its tables as the code has them now. Raises KeyError for an unknown name."""
    return _BLOCK.sub(lambda found: f"{found[1]}{TABLES[found['name']]()}{found[4]}", text)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def _code(text: object) -> str:
    return f"`{text}`"


def settings() -> str:
    """Every setting, those that are needed to start first."""
    rows = []
    for name, field in Settings.model_fields.items():
        default = "required" if name in CONNECTIONS else _default(field)
        rows.append((_code(variable_name(name)), default, field.description or ""))
    return _table(("variable", "default", "meaning"), rows)


def _default(field: FieldInfo) -> str:
    value: Any = field.default
    if value is PydanticUndefined:
        return ""
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if isinstance(value, dict):
        value = ",".join(f"{name}={each}" for name, each in value.items())
    return _code(f"{value:g}" if isinstance(value, float) and value.is_integer() else value) if value else ""


def events() -> str:
    """Every event type that has a rule."""
    return _table(
        ("event type", "what it tells"), ((_code(spec.type), spec.meaning) for spec in EVENTS.values())
    )


def notices() -> str:
    """Every type of notice."""
    return _table(("type", "what happened"), ((_code(name), text) for name, text in NOTICES.items()))


def event_types() -> str:
    """The event types alone, to paste into the endpoint's settings."""
    return "```text\n" + "\n".join(EVENTS) + "\n```\n"


def balance_transactions() -> str:
    """The posting table: kinds of balance transaction and the account that takes their amount."""
    rows = [(rule.meaning, ", ".join(map(_code, rule.kinds)), _code(rule.account)) for rule in POSTING_TABLE]
    rows.append(("a reason that is not known yet", "anything else", _code(chart.SUSPENSE)))
    return _table(("what it is", "reporting categories and types", "account on the other side"), rows)


def in_suspense() -> str:
    """What Stripe names and the posting table leaves out on purpose."""
    return _table(
        ("category or type", "why it is in no row"), ((_code(k), why) for k, why in IN_SUSPENSE.items())
    )


def fee_lines() -> str:
    """Where the lines of a fee are posted."""
    rows = [(_code(kind), _code(account)) for kind, account in FEE_ACCOUNTS.items()]
    rows.append(("anything else, and what the lines leave out", _code(chart.SUSPENSE)))
    return _table(("type of the line", "account"), rows)


def permissions() -> str:
    """What a restricted key of Stripe needs."""
    rows = (
        (_code(each.resource), each.level, each.dashboard, each.needed_for)
        for each in (*NEEDED, *FOR_DOCTOR, *FOR_ADOPTION)
    )
    return _table(("resource", "permission", "in Stripe's form for restricted keys", "what for"), rows)


def error_codes() -> str:
    """Every code of the error tree, in the order of the source."""
    rows = []
    for error in vars(errors).values():
        if isinstance(error, type) and issubclass(error, errors.TallystickError):
            when = re.sub(r"\s+", " ", (error.__doc__ or "").split("\n\n")[0]).replace("``", "`").strip()
            if error is errors.TallystickError:
                when = "An error that nobody foresaw; the log holds it under the request's id."
            retryable = "yes" if error.retryable else "no"
            rows.append((_code(error.code), str(error.status), retryable, when))
    return _table(("code", "status", "retryable", "when"), rows)


def routes() -> str:
    """Every route with the scope that it needs."""
    paths = asyncio.run(_openapi())["paths"]
    rows = []
    for path, methods in paths.items():
        for method, operation in methods.items():
            # the route's own first line says it better than the name of its function
            summary = operation.get("description", operation.get("summary", "")).split("\n")[0].split(". ")[0]
            summary = summary.replace("``", "`")
            scope = operation.get(SCOPE)
            rows.append(
                (_code(f"{method.upper()} {path}"), _code(scope) if scope else "none", summary.rstrip("."))
            )
    return _table(("route", "scope", "what it does"), rows)


async def _openapi() -> dict[str, Any]:
    """The description of the API; nothing is connected to for it."""
    nowhere = Settings(
        database_url="postgresql://nowhere/none",
        redis_url="redis://nowhere",
        stripe_secret_key=SecretStr("sk_test_none"),
        stripe_webhook_secrets=(SecretStr("whsec_none"),),
    )
    async with open_app(nowhere) as app:
        description: dict[str, Any] = build_api(app).openapi()
        return description


def commands() -> str:
    """Every command of the command line."""
    return _table(
        ("command", "what it does"), ((_code(f"tallystick {name}"), text) for name, text in command_list())
    )


def command_list() -> list[tuple[str, str]]:
    """Name and first sentence of every command, groups opened: ``("keys create", "Create …")``."""
    found: list[tuple[str, str]] = []

    def walk(command: Any, name: str) -> None:
        children = getattr(command, "commands", None)
        if children is None:
            found.append((name, re.sub(r"\s+", " ", (command.help or "").split("\n\n")[0]).strip()))
            return
        for child, inner in children.items():
            walk(inner, f"{name} {child}".strip())

    walk(typer.main.get_command(build([])), "")
    return found


def sandbox_routes() -> str:
    """Every call of Stripe's API that the sandbox answers, by path."""
    methods: dict[str, list[str]] = {}
    for route in sandbox_families.routes():
        methods.setdefault(route.path.replace("{}", "{id}"), []).append(route.method)
    rows = ((_code(path), ", ".join(sorted(methods[path]))) for path in sorted(methods))
    return _table(("path", "methods"), rows)


def sandbox_controls() -> str:
    """Every control call of the sandbox."""
    rows = []
    for (method, *parts), handler in sorted(control.CALLS.items(), key=lambda call: call[0][1:]):
        path = "/".join(parts).replace("{}", "{id}")
        text = inspect.cleandoc(handler.__doc__ or "").partition("\n\n")[0]
        rows.append((_code(f"{method} /_control/{path}"), " ".join(text.replace("``", "`").split())))
    return _table(("call", "what it does"), rows)


def sandbox_settings() -> str:
    """Every setting of the sandbox's account, with the text that stands below it in the source."""
    (tree,) = ast.parse(inspect.getsource(SandboxSettings)).body
    assert isinstance(tree, ast.ClassDef)
    texts: dict[str, str] = {}
    for field, below in itertools.pairwise(tree.body):
        if isinstance(field, ast.AnnAssign) and isinstance(below, ast.Expr):
            texts[ast.unparse(field.target)] = " ".join(str(ast.literal_eval(below.value)).split())
    shown = SandboxSettings().shown()
    rows = ((_code(name), _json(value), texts[name].replace("``", "`")) for name, value in shown.items())
    return _table(("setting", "default", "meaning"), rows)


def _json(value: object) -> str:
    return "six rates to `usd`" if isinstance(value, dict) else _code(json.dumps(value))


def metrics() -> str:
    """Every metric, in the order of the source: what a process counts, then what is read for it."""
    rows = []
    for each in vars(monitoring).values():
        if isinstance(each, MetricWrapperBase):
            (family,) = each.describe()
            name = f"{family.name}_total" if family.type == "counter" else family.name
            rows.append((name, family.type, each._labelnames, family.documentation))  # noqa: SLF001
        elif isinstance(each, monitoring.Reading):
            rows.append((each.name, each.kind, each.labels, each.documentation))
    return _table(
        ("metric", "type", "labels", "what it shows"),
        ((_code(name), kind, ", ".join(map(_code, labels)), text) for name, kind, labels, text in rows),
    )


TABLES: Final[dict[str, Callable[[], str]]] = {
    "settings": settings,
    "events": events,
    "event-types": event_types,
    "notices": notices,
    "balance-transactions": balance_transactions,
    "fee-lines": fee_lines,
    "in-suspense": in_suspense,
    "permissions": permissions,
    "errors": error_codes,
    "routes": routes,
    "commands": commands,
    "metrics": metrics,
    "sandbox-routes": sandbox_routes,
    "sandbox-controls": sandbox_controls,
    "sandbox-settings": sandbox_settings,
}


def main(arguments: list[str]) -> int:
    """Write the tables, or with ``--check`` name the pages that differ; 1 if there are any."""
    check = "--check" in arguments
    differing = [page for page in pages() if rendered(page.read_text("utf-8")) != page.read_text("utf-8")]
    for page in differing:
        if check:
            sys.stderr.write(f"{page.relative_to(ROOT)} is out of date: run 'make docs'\n")
        else:
            page.write_text(rendered(page.read_text("utf-8")), encoding="utf-8")
            sys.stdout.write(f"{page.relative_to(ROOT)} is written anew\n")
    return 1 if check and differing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
