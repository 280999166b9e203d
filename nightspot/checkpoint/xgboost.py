"""What XGBoost needs to go on boosting after an interruption as if there had been none.

training = resume(checkpointer, 500, callbacks=[EarlyStopping(rounds=20)])
booster = xgboost.train(
    params, dtrain, training.rounds_left, xgb_model=training.booster, evals=evals,
    evals_result=training.evals_result, callbacks=training.callbacks,
)
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from xgboost import Booster
from xgboost.callback import TrainingCallback

from .carried import Carried, memories
from .checkpointer import Checkpointer
from .core.errors import StateError
from .rounds import Resumed, Rounds, Saved, paired, seed_of

__all__ = ["CheckpointCallback", "Resumed", "resume"]


def resume(
    checkpointer: Checkpointer,
    num_boost_round: int,
    *,
    callbacks: Sequence[Any] = (),
    also: Mapping[str, Any] | None = None,
    repeatable: bool = True,
) -> Resumed:
    """Restore the newest checkpoint, and say how `xgboost.train` is to be called.

    num_boost_round: the rounds of the whole training, over all attempts.
    callbacks: those whose memory must survive, EarlyStopping above all; they see the rounds counted
        over all attempts. One with state_dict() and load_state_dict() is carried by these, any other
        by those of its attributes that have changed since it was made.
    also: more parts of the state, as for `Checkpointer.save`; objects are loaded from the checkpoint.
    repeatable: draw the random numbers of each round from `seed` and the round alone, so that a
        resumed training draws the same. They are then others than without this callback.

    Calls `checkpointer.restore()` and raises what that raises; StateError where the checkpoint was not
    saved by this adapter, or with other callbacks. With every rank of a distributed training having
    the same booster, the Checkpointer must be `replicated`.
    """
    rounds = Rounds("xgboost", checkpointer, num_boost_round, also)
    saved = rounds.restore()
    callback = CheckpointCallback(checkpointer, rounds, saved, callbacks, repeatable=repeatable)
    if saved is None:
        return Resumed(None, 0, rounds.total, [callback], {}, None)
    return Resumed(
        # Only a bytearray is taken for a model's contents; a text would be a file's name.
        booster=Booster(model_file=bytearray(saved.model)),
        rounds_done=rounds.done,
        rounds_left=0 if saved.stopped_early else max(0, rounds.total - rounds.done),
        callbacks=[callback],
        evals_result=_copy(saved.memory["evals"]),
        restored=saved.restored,
    )


class CheckpointCallback(TrainingCallback):  # type: ignore[misc] # XGBoost is Any to the type checker
    """Saves after each round that is due, and calls the callbacks whose memory it carries.

    Made by `resume`. Where a stop is requested, training ends after the save and SystemExit is raised.
    """

    def __init__(
        self,
        checkpointer: Checkpointer,
        rounds: Rounds,
        saved: Saved | None,
        callbacks: Sequence[Any],
        *,
        repeatable: bool,
    ) -> None:
        super().__init__()
        self._checkpointer = checkpointer
        self._rounds = rounds
        self._memory = saved.memory if saved else None
        self._stopped_early = saved is not None and saved.stopped_early
        self._callbacks = tuple(callbacks)
        self._repeatable = repeatable
        self._first_round = 0  # rounds of the booster that the whole training began with
        self._generator: dict[str, str] = {}
        self._given_rate: str | None = None
        self._best: str | None = None
        self._carried = [Carried(each) for each in callbacks]
        self._remembered = (
            [state for _, state in paired(callbacks, saved.memory["callbacks"])] if saved else []
        )

    def before_training(self, model: Any) -> Any:
        """Let the callbacks begin, then give them back their memory; StateError for a wrong booster."""
        if not isinstance(model, Booster):
            raise StateError(
                f"model is {type(model).__name__}: must be a Booster; xgboost.cv cannot be resumed"
            )
        config = json.loads(model.save_config())["learner"]
        self._generator = {name: config["generic_param"][name] for name in ("seed", "seed_per_iteration")}
        self._given_rate = next(_learning_rates(config["gradient_booster"]), None)
        self._first_round = self._memory["first_round"] if self._memory else model.num_boosted_rounds()
        self._check_rounds(model, "xgb_model must be the booster that was resumed")
        for each in self._callbacks:
            model = each.before_training(model)
        for place, memory in enumerate(self._remembered):
            self._carried[place].load(memory)
        if self._memory is not None and self._memory["learning_rate"] is not None:
            # A scheduler sets it after each round for the next one; the trees do not tell it.
            model.set_param({"learning_rate": self._memory["learning_rate"]})
        self._best = model.attr("best_iteration")
        return model

    def before_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        """Make the round independent of what this process did before; True where none is left."""
        rounds = self._rounds
        if self._stopped_early or rounds.done >= rounds.total:
            return True
        if epoch == 0 and self._memory is not None:
            evals_log.update(_copy(self._memory["evals"]))
        if model.attr("best_iteration") != self._best:
            raise StateError(
                "early_stopping_rounds: its counter would start again on resume; "
                "must be EarlyStopping(rounds=...) among the callbacks given to resume"
            )
        if self._repeatable:
            self._reseed(model)
        return any(each.before_iteration(model, rounds.done, evals_log) for each in self._callbacks)

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:  # noqa: ARG002 - counts this call's rounds
        """Count the round and save it where that is due; True where training is to end."""
        rounds = self._rounds
        rounds.done += 1
        self._check_rounds(model, "nothing but training may change it")
        self._check_evaluations(evals_log)
        stop = any(each.after_iteration(model, rounds.done - 1, evals_log) for each in self._callbacks)
        self._best = model.attr("best_iteration")
        metrics = {
            f"{data}-{metric}": float(values[-1])
            for data, by_metric in evals_log.items()
            for metric, values in by_metric.items()
        }
        build = partial(self._state, model, evals_log)
        finished = stop or rounds.done >= rounds.total
        if finished:
            rounds.finish(build, metrics)
        else:
            rounds.save_if_due(build, metrics)
        return finished or self._checkpointer.should_stop

    def after_training(self, model: Any) -> Any:
        """Leave if asked to, with nothing made of half a model; else let the callbacks end."""
        model.set_param(self._generator)
        self._checkpointer.exit_if_asked()
        for each in self._callbacks:
            model = each.after_training(model)
        return model

    def _reseed(self, model: Any) -> None:
        seed = seed_of(int(self._generator["seed"]), self._rounds.done)
        # XGBoost's own seed_per_iteration counts the rounds of this call of train, not of all.
        model.set_param({"seed": str(seed), "seed_per_iteration": "0"})
        # Updaters keep a column sampler of their own for as long as they live; loading the
        # configuration makes new ones. It takes half a millisecond.
        model.load_config(model.save_config())

    def _state(self, model: Any, evals_log: Any) -> tuple[bytes, dict[str, Any]]:
        config = json.loads(model.save_config())["learner"]
        rate = next(_learning_rates(config["gradient_booster"]), None)
        return bytes(model.save_raw("ubj")), {
            "first_round": self._first_round,
            "evals": _copy(evals_log),
            "callbacks": memories(self._carried),
            "learning_rate": None if rate == self._given_rate else rate,
        }

    def _check_rounds(self, model: Any, rule: str) -> None:
        expected, found = self._first_round + self._rounds.done, model.num_boosted_rounds()
        if found != expected:
            raise StateError(f"the booster has {found} rounds where {expected} are expected: {rule}")

    def _check_evaluations(self, evals_log: Any) -> None:
        lengths = {
            f"{data}-{metric}": len(values)
            for data, by_metric in evals_log.items()
            for metric, values in by_metric.items()
        }
        if any(length != self._rounds.done for length in lengths.values()):
            raise StateError(
                f"evals: after {self._rounds.done} rounds there are {lengths} evaluations; "
                "evals and eval_metric must be those that the checkpoint was saved with"
            )


def _learning_rates(config: Any) -> Iterator[str]:
    """The texts of the learning rates in a configuration, whose depth differs by kind of booster."""
    for name, value in config.items() if isinstance(config, Mapping) else ():
        if name in ("eta", "learning_rate"):
            yield value
        yield from _learning_rates(value)


def _copy(evals: Any) -> dict[str, dict[str, list[float]]]:
    return {
        data: {metric: [float(value) for value in values] for metric, values in by_metric.items()}
        for data, by_metric in evals.items()
    }
