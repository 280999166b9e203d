"""A training job that completes too early, or without a model, is a success with remarks."""

SHORT = {"work": "20m", "deadline": {"within": "2h"}}


def test_a_script_that_ends_before_its_last_step_has_succeeded_with_a_remark(play):
    played = play(hyperparameters={"steps": "24", "every": "1", "stop_at": "3"}, **SHORT)

    assert played.output["outcome"] == "succeeded"
    assert played.record.to_json()["remarks"] == [
        {"kind": "unfinished_steps", "text": "finished at step 3 of 24"}
    ]
    assert "but finished at step 3 of 24" in played.record.headline
    assert played.notices[-1]["DetailType"] == "Nightspot Run Succeeded"


def test_a_script_that_writes_no_model_has_succeeded_with_a_remark(play):
    played = play(hyperparameters={"steps": "2", "every": "1", "no_model": "1"}, **SHORT)

    assert played.output["outcome"] == "succeeded"
    assert played.record.to_json()["remarks"] == [
        {"kind": "model_empty", "text": "the model artefact is empty"}
    ]
