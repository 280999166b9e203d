"""Code and registry name each other: a constant that rests on AWS says on which fact, a fact who rests on it."""

from __future__ import annotations

import ast
import io
import json
import re
import tokenize
from collections import defaultdict
from pathlib import Path

import pytest

from nightspot.facts.model import (
    ANY,
    Accepted,
    Fact,
    Grade,
    Verdict,
    at_least,
    at_most,
    exactly,
    one_of,
    worst,
)
from nightspot.facts.registry import FACTS

ROOT = Path(__file__).parents[2]
FOLDERS = ("nightspot", "infra", "lambdas")
_COMMENT = re.compile(r"#.*\bfact: ([\w.*, ]+)")
_NAMES = re.compile(r"[a-z0-9_.]+\*?")


def names_in(comment):
    """The facts that a comment names; `x.*` stands for all that begin so."""
    match = _COMMENT.match(comment)
    if match is None:
        return set()
    found = set()
    for name in _NAMES.findall(match[1]):
        if name.endswith("*"):
            found |= {each for each in FACTS if each.startswith(name[:-1])}
        else:
            found.add(name)
    return found


def comments_of(text):
    """The comments of a Python text by line."""
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return {token.start[0]: token.string for token in tokens if token.type == tokenize.COMMENT}


def marked(text):
    """The facts by the name at the top of the module that their comment stands on, or above."""
    found = defaultdict(set)
    comments = {line: names for line, each in comments_of(text).items() if (names := names_in(each))}
    statements = [(first_line(each), each.end_lineno, name_of(each)) for each in ast.parse(text).body]
    for line, names in comments.items():
        name = next((name for first, last, name in statements if first <= line <= last or first > line), None)
        assert name is not None, f"line {line}: the comment stands on no constant, class or function"
        found[name] |= names
    return found


def first_line(statement):
    return min([statement.lineno, *(each.lineno for each in getattr(statement, "decorator_list", ()))])


def name_of(statement):
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return statement.name
    if isinstance(statement, ast.AnnAssign):
        return ast.unparse(statement.target)
    if isinstance(statement, ast.Assign):
        return ast.unparse(statement.targets[0])
    return None


@pytest.fixture(scope="module")
def sources():
    """Every Python file of the product by its path; nightspot's links to the other two folders are left out."""
    links = [ROOT / "nightspot" / name for name in ("cdk", "demo", "lambdas", "statemachine")]
    return {
        str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
        for folder in FOLDERS
        for path in sorted((ROOT / folder).rglob("*.py"))
        if not any(path.is_relative_to(link) for link in links)
    }


def test_every_comment_stands_in_the_registry_and_every_use_has_its_comment(sources):
    commented = {
        (f"{path}:{name}", fact)
        for path, text in sources.items()
        if "fact:" in text
        for name, facts in marked(text).items()
        for fact in facts
    }
    registered = {
        (use, fact.id)
        for fact in FACTS.values()
        for use in fact.used_by
        if use.partition(":")[0].endswith(".py")
    }

    assert len(commented) > 60
    assert {fact for _, fact in commented} - FACTS.keys() == set(), "comments name facts that do not exist"
    assert registered - commented == set(), "used_by names what has no such comment, or is gone"
    assert commented - registered == set(), "comments that used_by of the fact does not list"


def test_every_other_use_is_a_state_of_the_workflow():
    states = json.loads((ROOT / "statemachine/training_run.asl.json").read_text(encoding="utf-8"))["States"]
    others = [use for fact in FACTS.values() for use in fact.used_by if ".py:" not in use]

    assert others
    assert [use for use in others if use.partition(":")[2] not in states] == []


def test_a_use_that_is_gone_is_found_out():
    text = (
        "# fact: sagemaker.tags.count\nLARGEST_TAG_COUNT = 50\n\ndef other():\n    1  # fact: s3.key.bytes\n"
    )

    assert marked(text) == {"LARGEST_TAG_COUNT": {"sagemaker.tags.count"}, "other": {"s3.key.bytes"}}
    assert marked(text.replace("LARGEST_TAG_COUNT", "MOST_TAGS")).keys() == {"MOST_TAGS", "other"}


@pytest.mark.parametrize("fact", FACTS.values(), ids=list(FACTS))
def test_a_fact_is_whole(fact):
    assert re.fullmatch(r"[a-z0-9]+(\.[a-z0-9]+)+", fact.id)
    assert fact.question
    assert not fact.question.endswith(".")
    assert fact.assumed
    assert fact.grade is not Grade.MEASURED, "that is for a facts file to say"
    assert fact.grade is not Grade.DOCUMENTED or fact.source.startswith("https://docs.aws.amazon.com/")
    assert bool(fact.limit) <= bool(fact.meaning)
    assert "|" not in f"{fact.question}{fact.assumed}{fact.meaning}{fact.limit}", "it stands in a table"


@pytest.mark.parametrize(
    "fact", [each for each in FACTS.values() if each.safe != ANY], ids=lambda each: each.id
)
def test_what_is_designed_is_safe(fact):
    if fact.designed.words is not None:
        assert all(fact.safe.holds(word) for word in fact.designed.words)
    else:
        ends = [each for each in (fact.designed.least, fact.designed.most) if each is not None]
        assert ends
        assert all(fact.safe.holds(each) for each in ends)


@pytest.mark.parametrize(
    ("accepted", "value", "holds"),
    [
        (at_most(180), 180, True),
        (at_most(180), 181, False),
        (at_most(180), "soon", False),
        (at_most(1), True, False),
        (at_least(100), 99.9, False),
        (exactly(0), 0, True),
        (exactly(0), 1, False),
        (one_of("yes"), "yes", True),
        (one_of("yes"), "no", False),
        (one_of(1), True, False),
        (ANY, "whatever", True),
        (ANY, 7, True),
    ],
)
def test_which_answers_are_accepted(accepted, value, holds):
    assert accepted.holds(value) is holds


def test_accepted_answers_in_words():
    assert [
        str(each) for each in (at_most(1800), at_least(1), exactly(0), one_of("a", "b"), ANY, Accepted(1, 5))
    ] == [
        "≤ 1,800",
        "≥ 1",
        "0",
        "a or b",
        "any",
        "≥ 1, ≤ 5",
    ]


def test_a_verdict_is_that_of_the_worst_answer():
    fact = Fact("a.b", "?", "1", Grade.UNKNOWN, designed=at_most(60), safe=at_most(600))

    assert fact.verdict([]) is Verdict.NOT_TRIED
    assert fact.verdict([1, 60]) is Verdict.AS_DESIGNED
    assert fact.verdict([1, 61]) is Verdict.SAFE
    assert fact.verdict([61, 601]) is Verdict.BREAKS
    assert worst([Verdict.AS_DESIGNED, Verdict.NOT_TRIED]) is Verdict.AS_DESIGNED
    assert worst([Verdict.SAFE, Verdict.BREAKS, Verdict.AS_DESIGNED]) is Verdict.BREAKS
    assert worst([]) is Verdict.NOT_TRIED
