"""All of Tallystick on one machine: what is not configured is supplied, then API and worker are started.

Each part is a process of its own, so that one can be killed without the others. All of them end with us.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

import httpx

from tallystick.embedded.cluster import SERVICE
from tallystick.embedded.credentials import Credentials
from tallystick.embedded.installation import (
    SANDBOX_KEY,
    prepare,
    refuse_a_ledger_in_use,
    register_endpoint,
)
from tallystick.embedded.postgres import EmbeddedPostgres
from tallystick.embedded.processes import Progress, spawn, wait
from tallystick.embedded.sockets import listen
from tallystick.embedded.valkey import EmbeddedValkey
from tallystick.errors import ConfigurationError
from tallystick.settings import given, load_settings, variable_name

T = TypeVar("T")

_READY_AFTER_S: Final = 60.0
_STOP_AFTER_S: Final = 25.0
_CHECK_S: Final = 0.25
_LOG_BYTES: Final = 10_000_000
"""A log that has grown past this is put aside when its part is started."""


@dataclass(frozen=True, slots=True)
class Urls:
    """Where everything is. ``sandbox`` is None when real Stripe is used."""

    api: str
    sandbox: str | None
    database_url: str
    redis_url: str
    api_key: str
    webhook_secret: str

    @property
    def console(self) -> str:
        """Where operators look, and sign in with the API key."""
        return f"{self.api}/console"


@dataclass(slots=True)
class _Part:
    """A process of ours: how to start it, and the socket it listens on, which outlives a restart."""

    name: str
    command: list[str]
    sock: socket.socket | None
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    restarts: int = 0


@dataclass(slots=True)
class Stack:
    """Starts, watches and stops the parts. Not for use from several threads at once."""

    data_dir: Path
    host: str = "127.0.0.1"
    port: int = 8080
    on_progress: Progress = field(default=lambda _line: None)
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    _postgres: EmbeddedPostgres | None = None
    _valkey: EmbeddedValkey | None = None
    _parts: dict[str, _Part] = field(default_factory=dict)
    _environment: dict[str, str] = field(default_factory=dict)

    def start(self) -> Urls:
        """Start what is missing, in order; returns when the API is ready.

        Raises ConfigurationError with what to do. Whatever was started is stopped then.
        """
        try:
            return self._start()
        except BaseException:
            self.stop()
            raise

    def _start(self) -> Urls:
        with_sandbox = not given("stripe_secret_key", self.environ)
        if not with_sandbox:  # told before anything is started
            load_settings(self.environ, require=("stripe_secret_key", "stripe_webhook_secrets"))
        self.data_dir.mkdir(mode=0o711, parents=True, exist_ok=True)
        api = listen(self.host, self.port)
        api_url = f"http://{_for_url(self.host)}:{api.getsockname()[1]}"
        self._environment = dict(self.environ)
        if with_sandbox:
            self._environment.update(_for_trying_out(self.host, self.environ))
        sandbox_url = self._launch_sandbox() if with_sandbox else None
        self._start_servers()
        credentials = Credentials(self.data_dir)
        if sandbox_url is not None:
            state_url = f"{sandbox_url}/_control/state"
            self._step("Stripe sandbox", lambda: self._wait_for(state_url, "sandbox"))
            if given("database_url", self.environ) and not credentials.read("webhook_endpoint"):
                asyncio.run(refuse_a_ledger_in_use(load_settings(self._environment, require=())))
            secret = register_endpoint(sandbox_url, f"{api_url}/webhooks/stripe", credentials)
            self._environment.update(
                STRIPE_API_BASE=sandbox_url, STRIPE_SECRET_KEY=SANDBOX_KEY, STRIPE_WEBHOOK_SECRET=secret
            )
        settings = load_settings(self._environment)
        api_key = self._step("Database schema", lambda: asyncio.run(prepare(settings, credentials)))
        for name in ("DATABASE_OWNER_URL", "DATABASE_OWNER_URL_FILE"):  # not for those who only add
            self._environment.pop(name, None)
        self._part("api", ["serve"], api)
        self._part("worker", ["worker"], None)
        self._step("API and worker", lambda: self._wait_for(f"{api_url}/readyz", "api"))
        return Urls(
            api=api_url,
            sandbox=sandbox_url,
            database_url=settings.database_url,
            redis_url=settings.redis_url,
            api_key=api_key,
            # none where it is in the database
            webhook_secret="".join(each.get_secret_value() for each in settings.stripe_webhook_secrets[:1]),
        )

    def supervise(self, stopping: threading.Event) -> None:
        """Watch the parts until ``stopping`` is set; a part that ended is started again."""
        while not stopping.wait(_CHECK_S):
            for server in (self._postgres, self._valkey):
                if server is not None and server.poll() is not None:
                    self.on_progress(f"{type(server).__name__} ended; starting it again")
                    server.start()
            for part in self._parts.values():
                self._revive(part)

    def stop(self) -> None:
        """Stop everything, the last started first. Harmless when nothing runs."""
        for part in reversed(self._parts.values()):
            if part.process is not None and part.process.poll() is None:
                part.process.terminate()
        for part in reversed(self._parts.values()):
            if part.process is not None and not wait(part.process, _STOP_AFTER_S):
                self.on_progress(f"The {part.name} did not stop in {_STOP_AFTER_S:.0f} s; killed")
                part.process.kill()
                part.process.wait()
            if part.sock is not None:
                part.sock.close()
        self._parts.clear()
        for server in (self._valkey, self._postgres):
            if server is not None:
                server.stop()

    def erase(self) -> None:
        """Stop everything and remove all data, also what lies outside ``data_dir`` (see ``cluster``)."""
        self.stop()
        if self.data_dir.exists():
            EmbeddedPostgres(self.data_dir).erase()
            EmbeddedValkey(self.data_dir).erase()
            shutil.rmtree(self.data_dir)

    def log_path(self, name: str) -> Path:
        """Where a part (api, worker, sandbox) writes its log."""
        return self.data_dir / "logs" / f"{name}.log"

    def _step(self, what: str, work: Callable[[], T]) -> T:
        started = time.monotonic()
        self.on_progress(f"Starting: {what}")
        result = work()
        self.on_progress(f"Ready: {what} ({time.monotonic() - started:.1f} s)")
        return result

    def _start_servers(self) -> None:
        """PostgreSQL and Valkey, each unless the environment names another."""
        if not given("database_url", self.environ):
            postgres = self._postgres = EmbeddedPostgres(self.data_dir, on_progress=self.on_progress)
            self._step("PostgreSQL", postgres.start)
            self._environment["DATABASE_URL"] = postgres.url(role=SERVICE)
            self._environment["DATABASE_OWNER_URL"] = postgres.url()
        if not given("redis_url", self.environ):
            valkey = self._valkey = EmbeddedValkey(self.data_dir, on_progress=self.on_progress)
            self._step("Valkey", valkey.start)
            self._environment["REDIS_URL"] = valkey.url()

    def _launch_sandbox(self) -> str:
        """Let the sandbox come up while the database does; returns its URL."""
        sock = listen("127.0.0.1", 0)
        self._part("sandbox", ["sandbox", "--data-dir", str(self.data_dir / "sandbox")], sock)
        return f"http://127.0.0.1:{sock.getsockname()[1]}"

    def _part(self, name: str, arguments: list[str], sock: socket.socket | None) -> None:
        listen = ["--fd", str(sock.fileno())] if sock else []
        command = [sys.executable, "-m", "tallystick", *arguments, *listen]
        part = self._parts[name] = _Part(name, command, sock)
        self._launch(part)

    def _launch(self, part: _Part) -> None:
        path = self.log_path(part.name)
        path.parent.mkdir(exist_ok=True)
        if path.exists() and path.stat().st_size > _LOG_BYTES:
            path.replace(path.with_suffix(".log.1"))
        log = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            part.process = spawn(
                part.command,
                death_signal=signal.SIGTERM,
                account=None,
                cwd=self.data_dir,
                log=log,
                environment={**self._environment, "TALLYSTICK_LOG_FORMAT": "json"},
                pass_fds=(part.sock.fileno(),) if part.sock else (),
            )
        finally:
            os.close(log)
        part.started_at = time.monotonic()

    def _revive(self, part: _Part) -> None:
        """Start a part again that ended; the faster it ends, the longer the wait (up to 5 s)."""
        if part.process is None or (code := part.process.poll()) is None:
            return
        pause_s = min(5.0, 0.1 * 2**part.restarts)
        if time.monotonic() - part.started_at < pause_s:
            return
        part.restarts = 0 if time.monotonic() - part.started_at > 30 else part.restarts + 1
        self.on_progress(f"The {part.name} ended (exit status {code}); starting it again")
        self._launch(part)

    def _wait_for(self, url: str, name: str) -> None:
        """Poll until the part answers 200. Raises ConfigurationError with its log when it ends instead."""
        deadline = time.monotonic() + _READY_AFTER_S
        process = self._parts[name].process
        while time.monotonic() < deadline:
            if process is not None and process.poll() is not None:
                break
            try:
                if httpx.get(url, timeout=2.0, trust_env=False).status_code == httpx.codes.OK:
                    return
            except httpx.TransportError:
                pass  # it does not answer yet; the loop's condition tells when to give up
            time.sleep(0.02)
        lines = self.log_path(name).read_text(errors="replace").splitlines()[-5:]
        raise ConfigurationError(f"The {name} did not start. The end of its log:\n" + "\n".join(lines))


def _for_trying_out(host: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Settings for what is on this machine and tried out, where the environment says nothing of them."""
    easy = ["webhooks_allow_private"]
    if host in ("127.0.0.1", "::1", "localhost"):
        easy.append("metrics_public")
    return {variable_name(field): "true" for field in easy if not given(field, environ)}


def _for_url(host: str) -> str:
    if host in ("0.0.0.0", "::"):  # noqa: S104  compared, not bound
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host
