"""What a journal and a log say of a life."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightspot.drill.lives import (
    USUAL_DEFINITIONS,
    MetricDefinitionError,
    RestoreSeen,
    SeenStep,
    combined,
    definitions_of,
    read_journal,
    read_log,
)


def journal(*events, rank=0):
    lines = [
        {"event": name, "at": float(at), "rank": rank, **facts} for at, (name, facts) in enumerate(events)
    ]
    return "".join(json.dumps(line) + "\n" for line in lines)


def step(number, **facts):
    return "step", {"step": number, "metrics": {}, **facts}


WHOLE = journal(
    ("started", {}),
    ("restoring", {}),
    ("restored", {"step": 4, "skipped": ["checkpoint-6: torn"]}),
    step(5, unread=["optimiser"]),
    step(5, parts={"a": "1"}, metrics={"loss": 0.5}),
    ("saving", {"step": 5}),
    ("saved", {"step": 5}),
    step(6),
    ("saving", {"step": 6}),
)


def test_a_journal_tells_steps_saves_and_the_restore():
    seen = read_journal(WHOLE)
    assert seen.library
    assert seen.restore == RestoreSeen(4, ("checkpoint-6: torn",), 1.0)
    assert [each.step for each in seen.steps] == [5, 6]
    assert (seen.steps[0].parts, seen.steps[0].metrics) == ({"a": "1"}, {"loss": 0.5})
    assert seen.steps[0].unread == ("optimiser",)
    assert [(save.step, save.seconds) for save in seen.saves] == [(5, 1.0)]
    assert seen.saving == 6
    assert not seen.restoring


@given(cut=st.integers(0, len(WHOLE)))
def test_a_journal_that_is_torn_anywhere_says_what_its_whole_lines_say(cut):
    torn = WHOLE[:cut]
    # A last line that only lacks its end of line is whole.
    whole = (
        torn + "\n" if torn.endswith("}") and _is_json(torn.rpartition("\n")[2]) else torn.rpartition("\n")[0]
    )
    assert read_journal(torn) == read_journal(whole)


def _is_json(line):
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def test_a_line_that_no_checkpointer_wrote_is_refused_with_its_place():
    with pytest.raises(ValueError, match="line 2: 'nonsense': must be an event of a Checkpointer"):
        read_journal(journal(("started", {})) + "nonsense\n" + journal(("restoring", {})))
    with pytest.raises(ValueError, match="line 1"):
        read_journal('{"event": "unheard", "at": 1, "rank": 0}\n')


def test_only_the_first_rank_is_read():
    assert read_journal(journal(step(9), rank=1) + journal(step(1))).steps[0].step == 1
    assert not read_journal(journal(step(9), rank=1)).library


def test_no_journal_means_no_library():
    assert read_journal("") == SeenStep()


def definitions(*pairs):
    named = [{"Name": name, "Regex": regex} for name, regex in pairs]
    return definitions_of({"AlgorithmSpecification": {"MetricDefinitions": named}})


USUAL = (("train:epoch", r"epoch (\d+)"), ("train:loss", r"loss=([0-9.a-z]+)"), ("auc", r"auc: (\S+)"))


def test_lines_give_steps_and_metrics_as_sagemaker_s_definitions_say():
    seen = read_log(
        definitions(*USUAL),
        ["auc: 0.4", "epoch 1 loss=0.5", "noise", "epoch 2 loss=nan", "auc: 0.9", "epoch 2 loss=0.3"],
    )
    assert [(each.step, each.metrics) for each in seen.steps] == [
        (1, {"train:loss": 0.5}),
        (2, {"train:loss": 0.3, "auc": 0.9}),
    ]
    assert seen.finals == {"auc": 0.4}
    assert not seen.library


@pytest.mark.parametrize("name", ["step", "epoch", "Round", "global_step", "train:epoch", "validation-steps"])
def test_a_metric_named_like_a_count_is_the_step(name):
    assert definitions((name, r"(\d+)"))[0].is_step


@pytest.mark.parametrize("name", ["loss", "seconds_per_step_mean", "backgrounded", "stepwise"])
def test_other_metrics_are_not(name):
    assert not definitions((name, r"(\d+)"))[0].is_step


def test_a_step_that_is_no_whole_number_is_none():
    seen = read_log(definitions(("step", r"step (\S+)")), ["step nan", "step 1.5", "step inf", "step 2"])
    assert [each.step for each in seen.steps] == [2]


def test_a_last_line_that_is_torn_at_a_brace_says_nothing():
    assert read_journal(journal(step(1)) + '{"event": "step", "metrics": {}').steps[-1].step == 1


def test_a_word_where_a_number_should_be_is_no_metric():
    assert read_log(definitions(*USUAL), ["auc: high"]).finals == {}


@pytest.mark.parametrize("regex", ["loss=(", "loss=[0-9]+"])
def test_a_definition_that_cannot_be_used_is_named(regex):
    with pytest.raises(MetricDefinitionError, match=r"MetricDefinitions\[0\]\.Regex: 'loss="):
        definitions(("loss", regex))


def test_a_request_without_definitions_has_none():
    assert definitions_of({}) == ()


def test_the_journal_s_steps_are_joined_by_what_only_the_log_knows():
    own = read_journal(journal(step(1, metrics={"loss": 0.25}), step(2)))
    log = read_log(definitions(*USUAL), ["epoch 1 loss=0.3", "auc: 0.9"])
    both = combined(own, log)
    assert [each.metrics for each in both.steps] == [{"loss": 0.25, "train:loss": 0.3, "auc": 0.9}, {}]
    assert [each.step for each in combined(SeenStep(library=True), log).steps] == [1]


@pytest.mark.parametrize(
    ("lines", "steps"),
    [
        (["epoch 1/8 loss=0.343430", "epoch 2/8 loss=0.019206"], {1: 0.34343, 2: 0.019206}),
        (
            ["Train Epoch: 3 [640/60000 (1%)]\tLoss: 2.301", "Train Epoch: 3 [1280/60000]\tLoss: 1.5"],
            {3: 1.5},
        ),
        (["Epoch [4/10], train_loss: 1e-3, lr: 0.1"], {4: 0.001}),
        (["Epoch 5:", "  loss 0.25", "Epoch 6:", "  loss nan"], {5: 0.25, 6: None}),
        (["{'loss': 0.5, 'epoch': 0.25}", "{'loss': 0.4, 'epoch': 1.0}"], {1: 0.4}),
        (["Namespace(epochs=8, lossy=2)", "training for 8 epochs"], {}),
    ],
    ids=["plain", "mnist", "brackets", "two-lines", "trainer", "none"],
)
def test_what_scripts_usually_print_is_found_without_a_definition(lines, steps):
    seen = read_log(USUAL_DEFINITIONS, lines)
    assert {each.step: each.metrics.get("loss") for each in seen.steps} == steps
