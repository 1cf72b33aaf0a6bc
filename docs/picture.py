"""Draws ``docs/images/demo.svg``: one payment of the demo and the trial balance, as the terminal shows them.

Everything in the picture comes from a real run: ``python docs/picture.py`` starts the embedded stack in a
temporary folder, walks the demo's tour over HTTP and records what the commands print.
"""

from __future__ import annotations

import asyncio
import re
import tempfile
from pathlib import Path
from typing import Final

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.terminal_theme import TerminalTheme
from sqlalchemy.ext.asyncio import create_async_engine

from tallystick.cli.ledger import trial_balance_table
from tallystick.cli.show import show_payment
from tallystick.cli.tour import Tour
from tallystick.embedded.stack import Stack
from tallystick.ledger.balances import AccountBalance
from tallystick.ledger.trial_balances import trial_balance

PICTURE: Final = Path(__file__).parent / "images" / "demo.svg"
SHOWN: Final = "Authorised, then captured in part"
WIDTH: Final = 76
THEME: Final = TerminalTheme(
    (13, 17, 23),
    (230, 237, 243),
    [(72, 79, 88), (255, 123, 114), (63, 185, 80), (210, 153, 34),
     (88, 166, 255), (188, 140, 255), (57, 197, 207), (177, 186, 196)],
    [(110, 118, 129), (255, 161, 152), (86, 211, 100), (227, 179, 65),
     (121, 192, 255), (210, 168, 255), (86, 212, 221), (240, 246, 252)],
)  # fmt: skip
_LINE: Final = 24.4  # how far apart rich sets the lines, for a font of 20
LINE: Final = 23.2
FONTS: Final = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"


def main() -> None:
    """Run the demo's tour and draw."""
    with tempfile.TemporaryDirectory() as folder:
        stack = Stack(Path(folder) / "demo", port=0)
        try:
            urls = stack.start()
            tour = Tour(api=urls.api, sandbox=urls.sandbox or "", api_key=urls.api_key)
            asyncio.run(tour.walk())
            rows = asyncio.run(_rows(urls.database_url))
        finally:
            stack.stop()
            stack.erase()
    if tour.failures:
        raise SystemExit("\n".join(tour.failures))
    console = Console(record=True, width=WIDTH, force_terminal=True, color_system="truecolor")
    title, payment = next(shown for shown in tour.payments if shown[0] == SHOWN)
    console.print("[bold green]$[/] tallystick demo --once")
    console.print(show_payment(title, payment))
    console.print("[bold green]$[/] tallystick ledger trial-balance")
    console.print(trial_balance_table(rows))
    PICTURE.write_text(_without_downloads(console), encoding="utf-8")


async def _rows(database_url: str) -> list[AccountBalance]:
    engine = create_async_engine(database_url.replace("postgresql://", "postgresql+asyncpg://", 1))
    try:
        async with engine.connect() as connection:
            return await trial_balance(connection)
    finally:
        await engine.dispose()


def _without_downloads(console: Console) -> str:
    """The recorded lines as SVG with the reader's own fonts: nothing is fetched from elsewhere."""
    plain = re.sub(r"<!--.*?-->|@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    plain = plain.replace("font-family: Fira Code, monospace", f"font-family: {FONTS}")
    drawn = console.export_svg(title="tallystick", theme=THEME, code_format=plain, unique_id="demo")
    drawn = re.sub(r"(?:[ \t]*\n)+", "\n", drawn)
    if "http" in drawn.replace("http://www.w3.org/2000/svg", ""):
        raise SystemExit("The picture names an address.")
    return _closer(drawn)


def _closer(drawn: str) -> str:
    """Set the lines as close as the fonts' own height, so that the frames of tables have no gaps."""
    lines = len(re.findall(r'<clipPath id="demo-line-', drawn)) + 1
    saved = lines * (_LINE - LINE)

    def moved(found: re.Match[str]) -> str:
        top = 20.0 if found["tag"] == "text" else 1.5  # of the first line
        number, rest = divmod(float(found["y"]) - top + 0.01, _LINE)
        return f"{found['head']}{top + number * LINE:.1f}" if rest < 0.1 else found[0]

    drawn = re.sub(r'(?P<head><(?P<tag>text|rect)[^>]*? y=")(?P<y>[\d.]+)(?=")', moved, drawn)
    for pattern in (r'(viewBox="0 0 [\d.]+ )([\d.]+)', r'(height=")(\d{3,}[\d.]*)'):
        drawn = re.sub(pattern, lambda found: f"{found[1]}{float(found[2]) - saved:.1f}", drawn)
    return drawn


if __name__ == "__main__":
    main()
