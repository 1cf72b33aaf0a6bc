"""The console as a browser meets it: cookies are kept, forms are read from the page and sent back."""

from __future__ import annotations

import ipaddress
import re
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

import httpx
import pytest
from tests.conftest import Databases
from tests.integration.api.conftest import Face, open_face

from tallystick.api.server import create_app
from tallystick.app import App
from tallystick.console.server import create_console
from tallystick.embedded import EmbeddedValkey

SITE = "http://console.test"


@dataclass
class Form:
    """A form of a page: where it goes, and what its fields hold."""

    action: str
    method: str
    fields: dict[str, str] = field(default_factory=dict)
    boxes: dict[str, list[str]] = field(default_factory=dict)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self._open: list[Form] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._open.append(Form(given.get("action", ""), given.get("method", "get")))
            self.forms += self._open[-1:]
        elif tag == "input" and self._open and "name" in given:
            if given.get("type") == "checkbox":
                self._open[-1].boxes.setdefault(given["name"], []).append(given.get("value", "on"))
            else:
                self._open[-1].fields[given["name"]] = given.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        if tag == "form" and self._open:
            self._open.pop()


@dataclass
class Operator:
    """Somebody at the console, and the installation behind it."""

    face: Face
    http: httpx.AsyncClient
    keys: list[str] = field(default_factory=list)

    async def key(self, *scopes: str) -> str:
        """A new key; all of them are remembered."""
        self.keys.append(await self.face.key(*(scopes or ("admin",))))
        return self.keys[-1]

    async def see(self, path: str, expected: int = 200, /, **params: Any) -> str:
        """A page's HTML; its status must be the expected one."""
        answer = await self.http.get(path, params=params or None)
        assert answer.status_code == expected, f"{path}: {answer.status_code}\n{answer.text}"
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        return answer.text

    async def sign_in(self, *scopes: str, next: str = "") -> httpx.Response:  # noqa: A002
        """Sign in with a new key of these scopes."""
        return await self.sign_in_with(await self.key(*scopes), next)

    async def sign_in_with(self, secret: str, next: str = "") -> httpx.Response:  # noqa: A002
        """Sign in with a key."""
        form = form_of(await self.see("/console/sign-in", next=next), "/console/sign-in")
        return await self.send(form, api_key=secret)

    async def send(self, form: Form, headers: dict[str, str] | None = None, **fields: Any) -> httpx.Response:
        """Send a form as a browser does from a page of ours."""
        assert form.method == "post"
        data = {**form.fields, **fields}
        given = {"Origin": SITE, "Sec-Fetch-Site": "same-origin", **(headers or {})}
        return await self.http.post(
            form.action, data=data, headers={name: value for name, value in given.items() if value}
        )


def forms_of(html: str) -> list[Form]:
    """All forms of a page."""
    reader = _Reader()
    reader.feed(html)
    return reader.forms


def form_of(html: str, action: str) -> Form:
    """The form of a page that goes to an address."""
    found = [form for form in forms_of(html) if form.action == action]
    assert found, f"no form goes to {action}"
    return found[0]


def text_of(html: str) -> str:
    """What a page says, without its tags."""
    body = html.partition("<main")[2].replace("<wbr>", "")
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", body))


@asynccontextmanager
async def browser(app: App) -> AsyncIterator[httpx.AsyncClient]:
    """A client with an address of its own that keeps cookies and follows nothing."""
    address = str(ipaddress.IPv6Address(secrets.randbits(128)))
    whole = create_app(app, create_console(app))
    transport = httpx.ASGITransport(whole, raise_app_exceptions=False, client=(address, 1))
    async with httpx.AsyncClient(transport=transport, base_url=SITE) as http:
        yield http


@asynccontextmanager
async def open_console(databases: Databases, valkey: EmbeddedValkey) -> AsyncIterator[Operator]:
    """A fresh installation, and somebody who may do everything."""
    url = await databases.create()
    async with open_face(url, valkey) as face, browser(face.app) as http:
        made = Operator(face, http)
        assert (await made.sign_in()).status_code == 303
        yield made
    await databases.drop(url)


@pytest.fixture(scope="module")
async def installation(databases: Databases, valkey: EmbeddedValkey) -> AsyncIterator[Face]:
    """One for the tests of a module: each has a browser and keys of its own."""
    url = await databases.create()
    async with open_face(url, valkey) as face:
        yield face
    await databases.drop(url)


@pytest.fixture
async def visitor(installation: Face) -> AsyncIterator[Operator]:
    """Nobody is signed in."""
    async with browser(installation.app) as http:
        yield Operator(installation, http)


@pytest.fixture
async def operator(visitor: Operator) -> Operator:
    """Somebody who may do everything."""
    assert (await visitor.sign_in()).status_code == 303
    return visitor
