"""Every command that the documentation shows is one that the parser, or the Makefile, knows."""

import pytest

from tools.documented_commands import Line, command_lines, problem_of


def test_every_command_in_a_document_is_known(document, root):
    problems = {str(line): problem for line in command_lines(document) if (problem := problem_of(line, root))}

    assert problems == {}


def test_the_runbook_shows_commands_for_each_of_its_cases(root):
    text = (root / "docs/operate.md").read_text(encoding="utf-8")
    cases = text.split("\n## Cases\n")[1].split("\n## ")[0].split("\n### ")[1:]

    assert len(cases) == 9
    for case in cases:
        assert "```console\n$ " in case, case.splitlines()[0]


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ("nightspot runs --since 7d", None),
        (".venv/bin/nightspot validate jobs/", None),
        ("nightspot validate", "Missing argument"),
        ("nightspot fetch", "has no command fetch"),
        ("nightspot runs --colour", "No such option: --colour"),
        ("nightspot runs --limit many", "--limit"),
        ("nightspot runs --outcome lost", "--outcome"),
        ("make demo", None),
        ("make coffee", "the Makefile has no coffee"),
        ("python benchmarks/policy.py --night", None),
        ("python benchmarks/nothing.py", "there is no benchmarks/nothing.py"),
        ("aws sts get-caller-identity", None),
    ],
)
def test_a_command_is_known_or_it_is_said_what_is_not(words, problem, root):
    found = problem_of(Line("here:1", tuple(words.split())), root)

    assert (found is None) if problem is None else (problem in found)


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ("nightspot drill FILE --local", None),
        ("nightspot logs --attempt N", None),
        ("nightspot COMMAND --help", None),
        ("nightspot … --json", None),
        ("nightspot drill FILE --remote", "has no option --remote"),
        ("nightspot fetch FILE", "has no command fetch"),
    ],
)
def test_a_mention_may_leave_values_open_but_not_invent_options(words, problem, root):
    found = problem_of(Line("here:1", tuple(words.split()), whole=False), root)

    assert (found is None) if problem is None else (problem in found)


def test_commands_are_found_in_blocks_and_in_prose(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "Try `nightspot jobs` first.\n\n"
        "```console\n$ nightspot runs \\\n    --limit 3   # the newest\nNo runs.\n"
        "$ A=1 make demo && nightspot show | less\n```\n\n"
        "```sh\nnightspot explain 'Rate exceeded' > why.txt\n```\n\n"
        "```python\nnightspot = 1\n```\n\n"
        "```\nnightspot doctor\nok  region\n```\n"
        "```sh\necho 'one\ntwo' | nightspot explain -\n```\n"
    )

    assert [(line.place, " ".join(line.words)) for line in command_lines(page)] == [
        ("page.md:1", "nightspot jobs"),
        ("page.md:5", "nightspot runs --limit 3"),
        ("page.md:7", "make demo"),
        ("page.md:7", "nightspot show"),
        ("page.md:7", "less"),
        ("page.md:11", "nightspot explain Rate exceeded"),
        ("page.md:11", "why.txt"),
        ("page.md:19", "nightspot doctor"),
        ("page.md:24", "echo one\ntwo"),
        ("page.md:24", "nightspot explain -"),
    ]
