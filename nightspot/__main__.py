"""The command `nightspot`, and `python -m nightspot`; says what is missing where only the library works."""

from __future__ import annotations

import sys

NEEDED = (3, 11)


def main() -> None:
    """Run the command line; where this Python or this installation cannot, exit with status 2 and say so."""
    if sys.version_info < NEEDED:
        here = ".".join(str(part) for part in sys.version_info[:3])
        sys.exit(_refused(f"the command line needs Python 3.11 or newer, this is {here}"))
    try:
        from nightspot.cli import main as command_line  # noqa: PLC0415 - not on an old Python

        command_line()
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("nightspot"):
            raise
        sys.exit(
            _refused(f"the package {error.name} is missing; install nightspot[cli], or nightspot[local]")
        )


def _refused(reason: str) -> int:
    sys.stderr.write(f"nightspot: {reason}. nightspot.checkpoint works here as it is.\n")
    return 2


if __name__ == "__main__":
    main()
