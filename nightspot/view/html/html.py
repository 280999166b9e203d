"""How a page is put together: one file that may fetch nothing, and in which no text is markup."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from nightspot.formats import figures
from nightspot.formats.figures import visible
from nightspot.record.sentences import LABELS, how_an_attempt_ended
from nightspot.view.html import stretches, theme
from nightspot.view.html.charts_script import checked

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Chart:
    """A figure of a page. `spec` is Vega-Lite's; `words` say what it shows to those who cannot see it."""

    name: str
    title: str
    words: str
    spec: theme.Spec


def render(template: str, script: str | None, context: Mapping[str, Any]) -> str:
    """The page, whole. `script` draws the charts, see `charts_script`.

    Raises ChartsScriptError for a script that cannot stand in a page.
    """
    style = _style()
    scripts = [] if script is None else [checked(script), _read("page.js")]
    policy = "; ".join(
        (
            "default-src 'none'",
            f"style-src {_hash(style)}",
            f"script-src {' '.join(map(_hash, scripts)) or _NONE}",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )
    return (
        _environment()
        .get_template(template)
        .render(
            {
                **context,
                "policy": policy,
                "style": Markup(style),  # noqa: S704 - our own file
                "scripts": [Markup(each) for each in scripts],  # noqa: S704 - ours, and looked at above
            }
        )
    )


_NONE = "'none'"


def _hash(text: str) -> str:
    """The CSP source of an inline element that holds exactly `text`."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@cache
def _style() -> str:
    kinds = (f".kind-{kind.value} {{ background: {colour}; }}" for kind, colour in theme.KIND_COLOURS.items())
    light, dark = theme.css(0), theme.css(1)
    return "\n".join(
        (
            f":root {{ color-scheme: light dark; {light} }}",
            f"@media screen and (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}",
            _read("page.css").strip(),
            *kinds,
        )
    )


def _read(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


def _shown(value: Any) -> Any:
    """A text as it is put into a page; markup is ours."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,  # whatever the file is called
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        usd=figures.usd,
        percent=figures.percent,
        duration=figures.duration,
        clock=figures.clock,
        day=figures.day,
        number=figures.number,
        plain=figures.plain,
        kind=stretches.WORDS.__getitem__,
        label=LABELS.__getitem__,
        mood=theme.MOODS.__getitem__,
        ending=how_an_attempt_ended,
        rung=lambda attempt: attempt.market.of(attempt.instance_type),
    )
    return environment
