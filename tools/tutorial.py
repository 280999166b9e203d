"""Plays docs/tutorial.md: its commands in order, in an empty folder, against what this machine simulates.

A block below `<!-- run -->` is executed: of a `console` block every line that begins with `$ `, a `diff` block as a
patch. `status=7` in the marker is the exit status of the block's last command, `keep=REGEX` says which lines of
output the page shows (… stands for the others). Nothing else of the page is executed.

python -m tools.tutorial    # plays it, writes its outputs into the page and its pictures to docs/assets
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/tutorial.md"
EXAMPLE = ROOT / "examples/pytorch"
PICTURES = ROOT / "docs/assets"
_BLOCK = re.compile(r"<!-- run(?:: (?P<options>.*?))? -->\n```(?P<kind>\w+)\n(?P<body>.*?)```\n", re.DOTALL)
_OPTION = re.compile(r"(status|keep)=(\S+)")
_PAGE_PIXELS = {"width": 1120, "height": 1000}
_LIMIT_SECONDS = 600


class TutorialError(Exception):
    """A command of the tutorial did not end as the page says."""


@dataclass(frozen=True)
class Said:
    """A command of the page, and what it printed on both outputs."""

    command: str
    output: str
    seconds: float


@dataclass
class Tutorial:
    """The page, played in a folder. `text` has the new outputs once `play` is through."""

    text: str
    folder: Path
    environment: Mapping[str, str]

    def play(self) -> Iterator[Said]:
        """Execute every marked block; raises TutorialError with the output of a command that ends otherwise."""
        done, end = "", 0
        for block in _BLOCK.finditer(self.text):
            options = dict(_OPTION.findall(block["options"] or ""))
            body = block["body"]
            if block["kind"] == "diff":
                yield self._ran("patch -p1 --no-backup-if-mismatch", 0, stdin=body)
            else:
                body = ""
                commands = re.findall(r"^\$ ((?:.*\\\n)*.*)$", block["body"], re.MULTILINE)
                for command in commands:
                    status = int(options.get("status", 0)) if command == commands[-1] else 0
                    said = self._ran(command, status)
                    body += f"$ {command}\n{_shown(said.output, options.get('keep'))}"
                    yield said
            head = self.text[block.start() : block.start("body")]
            done += f"{self.text[end : block.start()]}{head}{body}```\n"
            end = block.end()
        self.text = done + self.text[end:]

    def _ran(self, command: str, status: int, stdin: str = "") -> Said:
        begun = time.monotonic()
        done = subprocess.run(  # noqa: S603 - the page's own commands
            ["bash", "-c", command],  # noqa: S607
            cwd=self.folder,
            env=dict(self.environment),
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=_LIMIT_SECONDS,
        )
        if done.returncode != status:
            raise TutorialError(f"{command}: exit status {done.returncode}, not {status}:\n{done.stdout}")
        return Said(command, done.stdout, time.monotonic() - begun)


def _shown(output: str, keep: str | None) -> str:
    lines, left_out = [], False
    for line in (line.rstrip() for line in output.splitlines()):
        if keep is None or re.search(keep, line):
            lines.append(line)
            left_out = False
        elif line and not left_out:
            lines.append("…")
            left_out = True
    return "".join(f"{line}\n" for line in lines)


def prepared(folder: Path) -> Tutorial:
    """The tutorial in `folder`, which gets the example's files as the reader has copied them."""
    shutil.copytree(
        EXAMPLE, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__", "README.md")
    )
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "NIGHTSPOT_"))}
    # `python` of the training command and `nightspot` are this environment's; Node is for synth.
    here = Path(sys.executable).parent
    path = os.pathsep.join((str(here), str(here.parent / "node"), os.environ["PATH"]))
    paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    environment = {**kept, "PATH": path, "PYTHONPATH": paths, "COLUMNS": "110"}
    return Tutorial(PAGE.read_text(encoding="utf-8"), folder, environment)


def photograph(page: Path, picture: Path) -> None:
    """The upper part of a run's page as PNG, by the Chromium of this machine (or of $CHROMIUM)."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - only the pictures need it

    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as playwright:
        # The sandbox needs rights that a container does not give; the page is our own.
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        opened = browser.new_page(
            viewport={"width": _PAGE_PIXELS["width"], "height": _PAGE_PIXELS["height"]}, color_scheme="light"
        )
        opened.goto(page.as_uri())
        charts = opened.locator(".chart").count()
        opened.wait_for_function(f"document.documentElement.dataset.drawn === '{charts}'")
        opened.screenshot(path=picture)
        browser.close()


def main() -> int:
    """Play it and write what it gave; prints how long each command took."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "ranking"
        tutorial = prepared(folder)
        total = 0.0
        for said in tutorial.play():
            total += said.seconds
            print(f"{said.seconds:6.1f} s  {said.command}")
        print(f"{total:6.1f} s  all")
        PAGE.write_text(tutorial.text.replace(str(folder), "."), encoding="utf-8")
        PICTURES.mkdir(exist_ok=True)
        shutil.copy(folder / "drill.png", PICTURES / "drill.png")
        shutil.copy(folder / "night.svg", PICTURES / "night.svg")
        photograph(folder / "night.html", PICTURES / "run-page.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
