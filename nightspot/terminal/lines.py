"""How one line of a report looks: story time, who speaks, what is said; long ones hang below themselves."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TextIO

from rich import box
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from nightspot.formats.figures import visible

# Wide enough for the tables, where nobody's window says how wide a line may be.
WIDTH_WITHOUT_TERMINAL = 110
NIGHTSPOT = "Nightspot"  # who decides
SPEAKER_CHARACTERS = 11
_INDENT = " " * (len("HH:MM  ") + SPEAKER_CHARACTERS)


class PatientConsole(Console):
    """A console that falls silent when nobody reads any more (`| head`).

    rich would end the thread that prints, which may be one that a night depends on.
    """

    def on_broken_pipe(self) -> None:
        """Print nothing from now on."""
        self.quiet = True
        # What is still in the stream's buffer has to go somewhere when Python ends.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.file.fileno())
        os.close(nowhere)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """What is printed, its own colours apart: whatever wrote a text, it does not steer the terminal."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(visible(segment.text), segment.style)


def console_for(stream: TextIO | None = None) -> Console:
    """A console on `stream` (standard output as it is now): colours and the window's width on a terminal only.

    The stream is bound at once: while a night is played, `sys.stdout` leads to the functions' log.
    """
    stream = stream or sys.stdout
    width = None if stream.isatty() else WIDTH_WITHOUT_TERMINAL
    return PatientConsole(file=stream, width=width, highlight=False, markup=False, emoji=False)


def plain_table(*, with_headings: bool = True) -> Table:
    """A table without edges, to which its columns are added."""
    return Table(
        box=box.SIMPLE_HEAD,
        padding=(0, 1),
        collapse_padding=True,
        pad_edge=False,
        show_edge=False,
        show_header=with_headings,
    )


def tell(console: Console, at: datetime, speaker: str, text: str, style: str = "") -> None:
    """Print `text` at the story time `at` (aware), wrapped to the console's width."""
    lead = f"{at.astimezone(UTC):%H:%M}  {speaker:<{SPEAKER_CHARACTERS}}"
    # Wrapped here: rich would break lines without the indent.
    console.print(Text(lead + _hanging(console, text), style=style), soft_wrap=True)


def paragraph(console: Console, title: str, text: str, style: str = "") -> None:
    """Print `text` beside its title, wrapped like the lines of the timeline."""
    line = Text(f"{title:<{len(_INDENT)}}", style="bold")
    line.append(_hanging(console, text), style=style or "not bold")
    console.print(line, soft_wrap=True)


def _hanging(console: Console, text: str) -> str:
    width = max(20, console.width - len(_INDENT))
    # A path or a training job's name stays whole, to be copied.
    lines = textwrap.wrap(visible(text), width, break_long_words=False, break_on_hyphens=False)
    return f"\n{_INDENT}".join(lines)
