"""Build what the page is served with, or check that it is current (``--check``).

Compiled CSS, our scripts as one file and other people's scripts are committed under ``web/static/dist``: nobody who
runs Keepstep needs node. ``sources.json`` there says what they were built from: without node that is what the check
compares. With ``--rebuild`` it builds them anew elsewhere and compares every byte.
"""

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
WEB = ROOT / "src" / "keepstep" / "web"
DIST = WEB / "static" / "dist"
RECORD = "sources.json"
MODULES = ROOT / "node_modules"
COPIED = {
    "htmx.min.js": "htmx.org/dist/htmx.min.js",
    "htmx.LICENSE": "htmx.org/LICENSE",
    "uplot.min.js": "uplot/dist/uPlot.iife.min.js",
    "uplot.LICENSE": "uplot/LICENSE",
    "tailwind.LICENSE": "tailwindcss/LICENSE",
}
"""What is taken as it is, and from where."""


def sources() -> dict[str, str]:
    """The hash of everything that the build reads."""
    return {str(path.relative_to(ROOT)): digest(path) for path in sorted(_read())}


def _read() -> Iterator[Path]:
    yield ROOT / "package-lock.json"
    yield from (WEB / "static" / "css").rglob("*.css")
    yield from (WEB / "static" / "js").rglob("*.js")
    yield from (WEB / "templates").rglob("*.html")
    yield WEB / "filters.py"


def digest(path: Path) -> str:
    """SHA-256 in hexadecimal, shortened."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:32]


def build(target: Path) -> None:
    """Build into a directory."""
    if not MODULES.is_dir():
        _npm("ci", "--ignore-scripts", "--no-audit", "--no-fund")
    target.mkdir(parents=True, exist_ok=True)
    for name, origin in COPIED.items():
        text = (MODULES / origin).read_text(encoding="utf-8")
        lines = [line for line in text.splitlines() if not line.startswith("//# sourceMappingURL")]
        (target / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    _npm("run", "--silent", "css", "--", "--output", str(target / "app.css"))
    _npm("run", "--silent", "js", "--", f"--outfile={target / 'app.js'}")
    built = {path.name: digest(path) for path in sorted(target.iterdir()) if path.name != RECORD}
    record = {"sources": sources(), "built": built}
    (target / RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def _npm(*arguments: str) -> None:
    """Run npm; what it says is shown when it fails."""
    ended = subprocess.run(["npm", *arguments], cwd=ROOT, check=False, capture_output=True, text=True)  # noqa: S603, S607
    if ended.returncode:
        sys.exit(f"npm {arguments[0]} failed:\n{ended.stdout}{ended.stderr}")


def differences(rebuild: bool) -> list[str]:
    """What is not as it should be."""
    if not (DIST / RECORD).exists():
        return [f"{DIST.relative_to(ROOT)} has not been built"]
    record = json.loads((DIST / RECORD).read_text(encoding="utf-8"))
    found = [f"{name} has changed since" for name, value in sources().items() if record["sources"].get(name) != value]
    found += [f"{name} is gone" for name in record["sources"] if not (ROOT / name).exists()]
    found += [
        f"{name} is not what was built"
        for name, value in record["built"].items()
        if not (DIST / name).exists() or digest(DIST / name) != value
    ]
    if rebuild and not found:
        with tempfile.TemporaryDirectory() as directory:
            build(Path(directory))
            found = [
                f"{path.name} comes out differently"
                for path in sorted(Path(directory).iterdir())
                if not (DIST / path.name).exists() or digest(DIST / path.name) != digest(path)
            ]
    return found


def main(arguments: list[str]) -> int:
    """Build, or check; the exit code."""
    if "--check" not in arguments:
        if shutil.which("npm") is None:
            print("The page's files are built with node and npm, and there is no npm here.", file=sys.stderr)  # noqa: T201
            return 1
        build(DIST)
        return 0
    rebuild = "--rebuild" in arguments
    if rebuild and shutil.which("npm") is None:
        print("There is no npm here: what is built is compared with the record of what it was built from only.")  # noqa: T201
        rebuild = False
    found = differences(rebuild)
    if found:
        print("The page's built files are not current:", *(f"  {line}" for line in found), sep="\n", file=sys.stderr)  # noqa: T201
        print("Build them with: make assets (needs node and npm), and commit them.", file=sys.stderr)  # noqa: T201
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
