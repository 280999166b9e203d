"""JSONata as Step Functions evaluates it: values in, values out, and nothing at all is an error."""

from __future__ import annotations

import json

import pytest
from jsonata.jexception import JException

from nightspot.local.stage.engine import UndefinedResultError, evaluate

NASTY = "say \"hi\" and 'ho', \\n, {% $y %} and ` too\nnext line"


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("'TRAINING_JOB#' & $x", "TRAINING_JOB#job"),
        ("$x = 'job'", True),
        ("$x = 'other'", False),
        ("{'name': $x}", {"name": "job"}),
        ("$length($x) + 1", 4),
    ],
)
def test_an_expression_reads_its_variables(expression, value):
    assert evaluate(expression, {"x": "job"}) == value


@pytest.mark.parametrize(
    "value", [0, -1.5, True, False, "", "text", [], [1], [[1]], {}, {"a": {"b": [1]}}, None]
)
def test_a_value_comes_back_as_it_went_in(value):
    returned = evaluate("$x", {"x": value})
    assert returned == value
    assert type(returned) is type(value)


def test_null_is_a_value_at_any_depth():
    deep = {"a": None, "b": [None, {"c": None}]}
    assert evaluate("$x", {"x": deep}) == deep
    assert evaluate("$x.a", {"x": deep}) is None
    assert evaluate("$x = null", {"x": None}) is True
    assert evaluate("$exists($x.a)", {"x": deep}) is True
    assert evaluate("{'fault': $x.a}", {"x": deep}) == {"fault": None}
    assert evaluate("null", {}) is None


@pytest.mark.parametrize("expression", ["$nobody", "$x.nothing", "$x.a.b", "$x.list[7]"])
def test_nothing_at_all_is_an_error_that_names_the_expression(expression):
    with pytest.raises(UndefinedResultError) as caught:
        evaluate(expression, {"x": {"a": 1, "list": [1]}})
    assert expression in str(caught.value)


def test_a_field_without_a_value_is_left_out_where_null_stays():
    assert evaluate("{'a': $x.nothing, 'b': $x.b}", {"x": {"b": None}}) == {"b": None}


def test_text_is_text_whatever_is_written_in_it():
    assert evaluate("$x", {"x": NASTY}) == NASTY
    assert evaluate("$x & '!'", {"x": NASTY}) == NASTY + "!"
    assert evaluate("$x.cause", {"x": {"cause": NASTY}}) == NASTY
    assert json.loads(evaluate("$string({'cause': $x})", {"x": NASTY})) == {"cause": NASTY}


def test_parse_is_step_functions_own_and_reads_json():
    text = json.dumps({"errorMessage": NASTY, "trace": [], "nothing": None})
    assert evaluate("$parse($x).errorMessage", {"x": text}) == NASTY
    assert evaluate("$parse($x)", {"x": text}) == json.loads(text)


def test_a_null_that_was_parsed_is_a_value_too():
    assert evaluate("$parse('null')", {}) is None
    assert evaluate("$parse('{\"a\": null}').a = null", {}) is True
    assert evaluate("[$parse('[null, 1]')]", {}) == [None, 1]


def test_parsing_what_is_no_json_fails():
    with pytest.raises(ValueError, match="Expecting value"):
        evaluate("$parse('Task timed out')", {})


@pytest.mark.parametrize("expression", ["(1", "$error('refused')", "$unheardOf(1)", "1 + 'a'"])
def test_a_wrong_expression_is_an_error(expression):
    with pytest.raises(JException):
        evaluate(expression, {})


def test_names_of_jobs_that_are_left_running_are_a_list_of_any_length():
    expression = "[$run.attempts[state != 'ended'].name]"

    def left(*states):
        attempts = [{"state": state, "name": f"job-{i}"} for i, state in enumerate(states)]
        return evaluate(expression, {"run": {"attempts": attempts}})

    assert left() == []
    assert left("ended") == []
    assert left("ended", "training") == ["job-1"]
    assert left("waiting", "ended", "training") == ["job-0", "job-2"]
