"""Whatever is opened, explained or drafted from: an answer or the clear error, never anything else."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightspot.documents.asking import left_out, request_in, told_by_blanks
from nightspot.documents.errors import read_words
from nightspot.documents.opening import KINDS, open_document
from nightspot.failures.classify import RESPONSES
from nightspot.failures.explanations import explain
from nightspot.job.errors import InvalidJobError
from nightspot.job.from_request import draft_job, job_file_text
from nightspot.job.reading import parse_job
from tests.documents.test_ends import ENDS, WORDS
from tests.documents.test_requests import DOCUMENTS

SAMPLES = [
    document
    if isinstance(document, str)
    else document.decode("utf-16")
    if isinstance(document, bytes)
    else json.dumps(document)
    for document in [
        *DOCUMENTS.values(),
        *(one for one, _ in ENDS.values()),
        *(one for one, _ in WORDS.values()),
    ]
]
STRUCTURES = [
    one for one in [*DOCUMENTS.values(), *(one for one, _ in ENDS.values())] if isinstance(one, dict | list)
]
# Every key that a recogniser asks for stands in a sample.
KEYS = sorted({key for text in SAMPLES for key in text.replace("'", '"').split('"') if key.isidentifier()})
LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12) | st.sampled_from(SAMPLES)
)
DATA = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=6), inner, max_size=5)
    ),
    max_leaves=20,
)


def used(given_text):
    """Everything that the two commands do with a document."""
    for lenient in (False, True):
        try:
            document = open_document(given_text, lenient=lenient)
        except InvalidJobError:
            continue
        assert document.kind
        for found in document.ends:
            state = found.end.state
            failure = found.end.failure
            assert failure.failure in RESPONSES
            assert (state.explanation if state else explain(failure)).advice
        drafted(document)


def drafted(document):
    try:
        asked = request_in(document)
    except InvalidJobError:
        return
    problems = ()
    try:
        parse_job(job_file_text(draft_job(asked.request, named_after="a")))
    except InvalidJobError as error:
        problems = error.problems
    assert bool(list(told_by_blanks(problems, asked))) == bool(problems or asked.blanks)
    assert all(note.severity == "warning" for note in (*asked.notes, *left_out(asked)))


@given(DATA)
def test_any_data_as_json(data):
    used(json.dumps(data))


def places(value, path=()):
    """The path of everything in plain data, text that is JSON again included as a whole."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield from places(one, (*path, key))


def put(value, path, new):
    """A copy of plain data with `new` at `path`."""
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = put(copy[path[0]], path[1:], new)
    return copy


@given(st.sampled_from(STRUCTURES), st.data())
def test_any_document_with_something_else_in_it(document, data):
    path = data.draw(st.sampled_from(list(places(document))))
    used(json.dumps(put(document, path, data.draw(DATA))))


@given(st.dictionaries(st.sampled_from(KEYS), DATA, min_size=1, max_size=6))
def test_any_printed_object(data):
    used(str(data))


@given(st.binary(max_size=200) | st.text(max_size=200))
def test_any_bytes_and_text(raw):
    used(raw)


@given(st.sampled_from(SAMPLES), st.data())
def test_any_sample_cut_off_and_changed(sample, data):
    start = data.draw(st.integers(0, len(sample)))
    end = data.draw(st.integers(start, len(sample)))
    put = data.draw(st.text(max_size=5) | st.sampled_from(SAMPLES))
    used(sample[:start] + put + sample[end:])


@given(
    st.text(max_size=60), st.sampled_from([one for one, failure in WORDS.values() if failure != "user_code"])
)
def test_behind_an_algorithm_error_nothing_is_read(before, words):
    said = f"AlgorithmError: {before} {words}"
    assert read_words(said).end.failure.failure == "user_code"
    assert open_document(said, lenient=True).ends[0].end.failure.failure == "user_code"


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"a":' * 50_000, "(" * 5_000, "{'a': " * 5_000, "- " * 20_000, "'" * 9_999]
)
def test_what_is_nested_too_deep_is_refused_or_words(text):
    used(text)


def test_the_time_grows_with_the_text():
    for text in (
        "Traceback (most recent call last):\n" * 3_000,
        "a: " * 60_000,
        " " * 200_000,
        "x\n" * 90_000,
        "│ " * 60_000,
    ):
        used(text)


def test_kinds_have_names_in_plain_words():
    for kind in KINDS:
        assert kind.says[0].islower() or kind.says.startswith(("AWS", "SNS"))
        assert not kind.says.endswith(".")
