"""What YAML allows and a job file must not hold."""

import pytest

from nightspot.job.reading import read_yaml


@pytest.mark.parametrize(
    ("text", "field", "rule"),
    [
        ("", "(file)", "must hold a job"),
        ("# only a comment", "(file)", "must hold a job"),
        ("work: 4h\nname: a\nwork: 5h", "work", "appears twice, on lines 1 and 3"),
        ("deadline:\n  at: a\n  at: b", "deadline.at", "appears twice, on lines 2 and 3"),
        ("a: [{b: 1, b: 2}]", "a[0].b", "appears twice"),
        ("deadline: {at: 18:30}", "deadline.at", "in quotes"),
        ("work: 4:00", "work", "a unit such as 4h"),
        ("a: 1:30.5", "a", "base 60"),
        ("a: !!python/object/apply:os.system [ls]", "a", "must not have a YAML tag"),
        ("a: !!timestamp 2026-01-31", "a", "must not have a YAML tag"),
        ("a: !secret x", "a", "must not have a YAML tag"),
        ("!!python/name:os.system x: 1", "x", "must not have a YAML tag"),
        ("a: &b [*b]", "a[0]", "must not contain itself"),
        ("? [a, b]\n: 1", "(file)", "a key must be a plain word"),
        ("a: [", "(file)", "not valid YAML"),
        ("a: 1\n---\nb: 2", "(file)", "not valid YAML"),
        ("a: !!bool maybe", "(file)", "not valid YAML"),
        ("a: !!int x", "(file)", "not valid YAML"),
        ("[" * 5000, "(file)", "nested more than 100 levels deep"),
        ("[" * 101 + "]" * 101, "(file)", "nested more than 100 levels deep"),
        ("a: &x " + "{b: " * 200 + "1" + "}" * 200, "(file)", "nested more than 100 levels deep"),
        ("#" * 300_000, "(file)", "at most"),
        ("a: \x00", "(file)", "not valid YAML"),
    ],
)
def test_a_notation_that_misleads_is_refused(text, field, rule):
    _, (problem,) = read_yaml(text)
    assert problem.field == field
    assert rule in problem.rule


def test_a_syntax_error_names_its_line_and_column():
    _, (problem,) = read_yaml("name: a\nwork: [4h\n")
    assert problem.value == "line 3, column 1"


@pytest.mark.parametrize("text", ["a: *hunter2", "a: !hunter2 x", "token: 'hunter2", "a: b: hunter2"])
def test_a_syntax_error_does_not_quote_the_file(text):
    _, problems = read_yaml(text)
    assert problems
    assert "hunter2" not in str(problems)


def test_what_is_refused_does_not_hide_what_comes_after():
    document, problems = read_yaml("a: !tag {b: 1, b: 2}\nc: 18:30\nd: 1\n")
    assert [problem.field for problem in problems] == ["a", "a.b", "c"]
    assert document == {"a": {"b": 2}, "c": "18:30", "d": 1}


def test_dates_and_shared_anchors_are_plain_data():
    text = "a: 2026-01-31\nb: &rungs [x, y]\nc: *rungs\nd: {<<: {e: 1}, f: 2}\ng: '18:30'\nh: 08:00"
    document, problems = read_yaml(text)
    assert not problems
    assert document == {
        "a": "2026-01-31",
        "b": ["x", "y"],
        "c": ["x", "y"],
        "d": {"e": 1, "f": 2},
        "g": "18:30",
        "h": "08:00",
    }


def test_anchors_upon_anchors_are_walked_once():
    levels = "\n".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 40))
    _, problems = read_yaml(f"a0: &a0 x\n{levels}\n")
    assert not problems
