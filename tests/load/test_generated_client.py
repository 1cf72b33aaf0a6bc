"""A client generated from the OpenAPI document by openapi-python-client takes a payment.

The generator wants an older Typer than Tallystick has, so it gets an environment of its own: that of an
``openapi-python-client`` on the PATH, else a fresh one, for which pip needs the network.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
from pathlib import Path

import aiohttp
import pytest
from tests.load.conftest import Install

_CALLER = """
import asyncio, sys
from made import AuthenticatedClient
from made.api.payments import create_payment, get_payment, refund_payment
from made.models import CreatePayment, Payment, PaymentInFull, PaymentStatus, Problem, Refund, RefundPayment

async def main(url, key):
    client = AuthenticatedClient(base_url=url, token=key)
    order = CreatePayment(amount=1999, currency="usd", payment_method="pm_card_visa", confirm=True)
    paid = await create_payment.asyncio(client=client, body=order, idempotency_key="generated")
    assert isinstance(paid, Payment), paid
    assert paid.status is PaymentStatus.SUCCEEDED and paid.amount_captured == 1999
    again = await create_payment.asyncio_detailed(client=client, body=order, idempotency_key="generated")
    assert again.parsed.id == paid.id and again.headers["Idempotent-Replayed"] == "true"
    refund = await refund_payment.asyncio(id=paid.id, client=client, body=RefundPayment(amount=500))
    assert isinstance(refund, Refund) and refund.amount == 500, refund
    whole = await get_payment.asyncio(id=paid.id, client=client)
    assert isinstance(whole, PaymentInFull) and whole.refunds[0].id == refund.id, whole
    declined = CreatePayment(
        amount=1999, currency="usd", payment_method="pm_card_chargeDeclined", confirm=True
    )
    refused = await create_payment.asyncio(client=client, body=declined)
    assert isinstance(refused, Problem) and refused.code == "card_declined", refused
    missing = await get_payment.asyncio(id="pay_none", client=client)
    assert isinstance(missing, Problem) and missing.code == "not_found", missing

asyncio.run(main(*sys.argv[1:]))
"""


async def run(*command: str | Path, cwd: Path) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *map(str, command), cwd=cwd, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode(errors="replace")


async def generator(folder: Path) -> Path:
    """The generator's program, beside the Python that can run what it makes."""
    if (found := shutil.which("openapi-python-client")) is not None:
        return Path(found)
    await run(sys.executable, "-m", "venv", folder / "venv", cwd=folder)
    programs = folder / "venv" / "bin"
    code, output = await run(
        programs / "python", "-m", "pip", "install", "--quiet", "openapi-python-client", cwd=folder
    )
    if code != 0:
        pytest.skip(f"openapi-python-client cannot be installed here: {output.strip()[-300:]}")
    return programs / "openapi-python-client"


@pytest.mark.long
async def test_a_generated_client_takes_a_payment(install: Install, tmp_path: Path) -> None:
    program = await generator(tmp_path)
    async with install() as urls:
        async with aiohttp.ClientSession() as session, session.get(f"{urls.api}/openapi.json") as answer:
            (tmp_path / "openapi.json").write_bytes(await answer.read())
        code, output = await run(
            program,
            "generate",
            "--path",
            "openapi.json",
            "--output-path",
            "made",
            "--meta",
            "none",
            cwd=tmp_path,
        )
        assert code == 0, output
        for complaint in ("Unable to parse", "WARNING parsing", "ERROR"):
            assert complaint not in output, output
        code, output = await run(
            program.with_name("python"), "-c", _CALLER, urls.api, urls.api_key, cwd=tmp_path
        )
    assert code == 0, output
