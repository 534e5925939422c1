"""Makes docs/images/demo.svg from a real ``keepstep demo --once``, so that the picture never lies."""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "docs" / "images" / "demo.svg"
_FONT_FACES = re.compile(r"@font-face \{.*?\}", re.DOTALL)
_WEB_FONT = re.compile(r"font-family: Fira Code, ?")


def main() -> None:
    """Run the demo and draw what it said."""
    console = Console(record=True, width=96, file=open(os.devnull, "w"), force_terminal=True)  # noqa: SIM115, PTH123
    console.print(Text.assemble(("$ ", "dim"), ("make demo ARGS=--once", "bold")))
    for line in demo().splitlines():
        console.print(styled(line))
    svg = console.export_svg(title="keepstep demo", unique_id="demo")
    svg = _WEB_FONT.sub("font-family: ", _FONT_FACES.sub("", svg))
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    PICTURE.write_text(svg, "utf-8")
    sys.stdout.write(f"{PICTURE.relative_to(ROOT)} drawn\n")


def demo() -> str:
    """What a first demo prints, with its one changing number, the emulator's port, made plain."""
    with tempfile.TemporaryDirectory() as home:
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("KEEPSTEP_", "DOORLOOP_", "DATABASE_"))}
        done = subprocess.run(  # noqa: S603 - our own program
            [Path(sys.executable).with_name("keepstep"), "demo", "--once"],
            env={**environment, "KEEPSTEP_HOME": home, "COLUMNS": "96"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=True,
        )
    return re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:8788", done.stdout)


def styled(line: str) -> Text:
    """A line in the colours of its kind."""
    text = Text(line)
    if ": done;" in line or "succeeded" in line:
        text.stylize("green")
    elif line.startswith(("entity", " " * 20)):
        text.stylize("dim")
    return text


if __name__ == "__main__":
    main()
