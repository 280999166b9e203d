"""The short way through an expression gives what the engine gives; the clock is the simulation's."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightspot.local.stage.engine import UndefinedResultError
from nightspot.local.stage.engine import evaluate as by_local_engine
from tests.simulation.jsonata import Expression, QueryError, Surroundings

AROUND = Surroundings(lambda: datetime(2026, 11, 21, 2, 30, tzinfo=UTC), lambda: UUID(int=7), lambda: 0.25)
_LEAVES = st.one_of(st.none(), st.booleans(), st.integers(-5, 5), st.sampled_from(["", "start", "é", "it's"]))
_VALUES = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
    ),
    max_leaves=8,
)
SIMPLE = ["$x", "$x.a", "$x.a.b", "$x = 'start'", "$x.a = 'start'", "'before ' & $x", "'before ' & $x.a"]


def _value(evaluate: Any) -> Any:
    try:
        return evaluate()
    except (QueryError, UndefinedResultError):
        return "undefined"
    except Exception:  # both engines refuse it, each in its own words
        return "undefined"


@pytest.mark.parametrize("text", SIMPLE)
@given(x=_VALUES)
def test_the_short_way_is_the_engines(text: str, x: Any) -> None:
    own = _value(lambda: Expression(text).evaluate({"x": x}, AROUND))
    assert own == _value(lambda: by_local_engine(text, {"x": x}))


@pytest.mark.parametrize("text", SIMPLE)
def test_the_simple_forms_take_the_short_way(text: str) -> None:
    assert Expression(text)._simple is not None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("$now()", "2026-11-21T02:30:00.000Z"),
        ("$millis()", 1795228200000),
        ("$uuid()", "00000000-0000-0000-0000-000000000007"),
        ("$random()", 0.25),
        ("$parse($x.text).a", 1),
        ("$merge([{'a': 1}, {'b': null}])", {"a": 1, "b": None}),
        ("[$x.list[kind != 'b'].n]", [1]),
        ("($y := 3; $y + 1)", 4),
        ("$map([1, 2], function($n) { $n * 2 })", [2, 4]),
    ],
)
def test_what_step_functions_adds(text: str, value: Any) -> None:
    x = {"text": '{"a": 1}', "list": [{"kind": "a", "n": 1}, {"kind": "b", "n": 2}]}
    assert Expression(text).evaluate({"x": x}, AROUND) == value


@pytest.mark.parametrize("text", ["$never", "$never.assigned = 'x'", "$exists($never)", "$x.missing"])
def test_what_was_never_assigned_is_an_error(text: str) -> None:
    with pytest.raises(QueryError):
        Expression(text).evaluate({"x": {}}, AROUND)


def test_a_null_is_a_value() -> None:
    assert Expression("$x").evaluate({"x": None}, AROUND) is None
    assert Expression("{'a': $x}").evaluate({"x": None}, AROUND) == {"a": None}
