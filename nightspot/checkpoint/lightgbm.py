"""What LightGBM needs to go on boosting after an interruption, as far as it can be continued at all.

training = resume(checkpointer, 500, callbacks=[lightgbm.early_stopping(20)])
booster = training.booster
if training.rounds_left:
    booster = lightgbm.train(
        params, train_set, training.rounds_left, init_model=booster, valid_sets=valid_sets,
        callbacks=training.callbacks,
    )
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import lightgbm
from lightgbm.callback import CallbackEnv, EarlyStopException

from .carried import Carried, name_of
from .checkpointer import Checkpointer
from .core.errors import StateError
from .rounds import Resumed, Rounds, Saved, paired, seed_of

__all__ = ["Resumed", "resume"]

_LOG = logging.getLogger("nightspot.checkpoint")

# What they remember follows from the evaluations alone; neither can be saved as it is.
_REPLAYED = (type(lightgbm.early_stopping(1, verbose=False)), type(lightgbm.record_evaluation({})))

# Generators that begin again when their seed is set. Bagging's begins again only where bagging itself
# changes, which is why its frequency is set to another value first.
_SEEDS = ("bagging_seed", "feature_fraction_seed", "extra_seed")

# What the model's text shows of the parameters is as if there had been neither seeds nor interruptions.
_PUT_BACK = (*_SEEDS, "num_iterations")


def _is_goss(settings: Mapping[str, str]) -> bool:
    return "goss" in (settings["boosting"], settings.get("data_sample_strategy"))


# Settings under which LightGBM keeps something that neither the model nor a parameter can bring back.
_NOT_REPEATABLE: Mapping[str, Callable[[Mapping[str, str]], bool]] = {
    "boosting=dart keeps the weights of the trees before": lambda its: its["boosting"] == "dart",
    "GOSS uses all rows in its first 1/learning_rate rounds, and again after a resume": _is_goss,
    "linear_tree goes by features in single precision, and by double precision after a resume": lambda its: (
        its.get("linear_tree") == "1"
    ),
    "use_quantized_grad with stochastic_rounding keeps a generator": lambda its: (
        its.get("use_quantized_grad") == "1" and its.get("stochastic_rounding") == "1"
    ),
    "objective=rank_xendcg keeps a generator": lambda its: its["objective"].startswith("rank_xendcg"),
}


def resume(
    checkpointer: Checkpointer,
    num_boost_round: int,
    *,
    callbacks: Sequence[Any] = (),
    also: Mapping[str, Any] | None = None,
    repeatable: bool = True,
) -> Resumed:
    """Restore the newest checkpoint, and say how `lightgbm.train` is to be called.

    num_boost_round: the rounds of the whole training, over all attempts.
    callbacks: those that must know of all rounds; they see the rounds counted over all attempts.
        early_stopping and record_evaluation are shown the past again, a callback with state_dict()
        and load_state_dict() is carried by these, any other by those of its attributes, or of a function's
        nonlocal variables, that have changed since it was given; StateError where those cannot be pickled.
    also: more parts of the state, as for `Checkpointer.save`; objects are loaded from the checkpoint.
    repeatable: draw the random numbers of each round from the seeds and the round alone, so that a
        resumed training draws the same. They are then others than without these callbacks.

    Calls `checkpointer.restore()` and raises what that raises; StateError where the checkpoint was not
    saved by this adapter, or with other callbacks. LightGBM refuses to train 0 rounds: where none is
    left, `booster` is the result. With every rank of a distributed training having the same booster,
    the Checkpointer must be `replicated`.
    """
    rounds = Rounds("lightgbm", checkpointer, num_boost_round, also)
    saved = rounds.restore()
    training = _Training(checkpointer, rounds, saved, callbacks, repeatable=repeatable)
    around = [_Callback(training.begin_round, before=True), _Callback(training.end_round, before=False)]
    if saved is None:
        return Resumed(None, 0, rounds.total, around, {}, None)
    booster = lightgbm.Booster(model_str=bytes(saved.model).decode())
    finished = saved.stopped_early or rounds.done >= rounds.total
    if finished:
        best = saved.memory["best"]
        training.remember(partial(CallbackEnv, model=booster, params={}))
        if best is not None:
            # What lightgbm.train returns is cut off there too.
            booster = lightgbm.Booster(model_str=booster.model_to_string(num_iteration=best))
            booster.best_iteration = best
            scores = _as_histories([saved.memory["evals"][best - 1 - saved.memory["first_round"]]])
            booster.best_score = {
                data: {metric: values[-1] for metric, values in each.items()} for data, each in scores.items()
            }
    return Resumed(
        booster=booster,
        rounds_done=rounds.done,
        rounds_left=0 if finished else rounds.total - rounds.done,
        callbacks=around,
        evals_result=_as_histories(saved.memory["evals"]),
        restored=saved.restored,
    )


class _Callback:
    """One of the two calls per round, with the attributes by which LightGBM sorts callbacks."""

    def __init__(self, call: Callable[[Any], None], *, before: bool) -> None:
        self._call = call
        self.before_iteration = before
        self.order = 1000  # the last of all

    def __call__(self, env: Any) -> None:
        self._call(env)


class _Training:
    """What is remembered from round to round."""

    def __init__(
        self,
        checkpointer: Checkpointer,
        rounds: Rounds,
        saved: Saved | None,
        callbacks: Sequence[Any],
        *,
        repeatable: bool,
    ) -> None:
        self._checkpointer = checkpointer
        self._rounds = rounds
        self._memory = saved.memory if saved else None
        self._callbacks = tuple(callbacks)
        self._remembered = paired(callbacks, saved.memory["callbacks"]) if saved else []
        self._carried = {id(each): Carried(each) for each in callbacks if not isinstance(each, _REPLAYED)}
        ordered = sorted(
            enumerate(callbacks), key=lambda each: getattr(each[1], "order", each[0] - len(callbacks))
        )
        self._before = [each for _, each in ordered if getattr(each, "before_iteration", False)]
        self._after = [each for _, each in ordered if not getattr(each, "before_iteration", False)]
        self._repeatable = repeatable
        self._begun = False
        self._first_round = self._memory["first_round"] if self._memory else 0
        self._evals: list[list[tuple[str, str, float, bool]]] = (
            list(self._memory["evals"]) if self._memory else []
        )
        self._settings: dict[str, str] = {}

    def begin_round(self, env: Any) -> None:
        """Make the round independent of what this process did before."""
        if not self._begun:
            self._begin(env)
        whole = partial(CallbackEnv, model=env.model, params=env.params)
        for each in self._before:
            each(self._env(whole, self._rounds.done, None))
        if self._repeatable:
            # Last, because setting any parameter after it would call the new bagging off again.
            self._reseed(env.model)

    def end_round(self, env: Any) -> None:
        """Count the round, save it where that is due, and leave if asked to."""
        rounds = self._rounds
        results = env.evaluation_result_list or []
        evaluated = [(each[0], each[1], float(each[2]), bool(each[3])) for each in results]
        if self._evals and [each[:2] for each in self._evals[-1]] != [each[:2] for each in evaluated]:
            raise StateError(
                f"valid_sets: round {rounds.done + 1} has {[each[:2] for each in evaluated]}; valid_sets and "
                f"metrics must be those that the rounds before had, {[each[:2] for each in self._evals[-1]]}"
            )
        self._evals.append(evaluated)
        if self._repeatable:
            env.model.reset_parameter({name: self._settings[name] for name in _PUT_BACK})
        whole = partial(CallbackEnv, model=env.model, params=env.params)
        ended = self._stopped_by_callback(self._env(whole, rounds.done, results))
        rounds.done += 1
        metrics = {f"{data}-{metric}": value for data, metric, value, _ in evaluated}
        best = ended.best_iteration + 1 if ended else None
        build = partial(self._state, env.model, best)
        if ended or rounds.done >= rounds.total:
            rounds.finish(build, metrics)
        else:
            rounds.save_if_due(build, metrics)
        self._checkpointer.exit_if_asked()
        if ended:
            raise ended

    def remember(self, whole: Callable[..., Any]) -> None:
        """Show the past to the callbacks whose memory follows from it, and load that of the others."""
        for each, state in self._remembered:
            if isinstance(each, _REPLAYED):
                self._replay(each, whole)
            elif state:
                # An earlier version saved what state_dict() gave, as it is.
                ours = {"own", "attributes"} & set(state)
                self._carried[id(each)].load(state if ours else {"own": state})

    def _begin(self, env: Any) -> None:
        self._begun = True
        if not isinstance(env.model, lightgbm.Booster):
            raise StateError(
                f"model is {type(env.model).__name__}: must be a Booster; lightgbm.cv cannot be resumed"
            )
        self._settings = dict(
            re.findall(r"^\[(\w+): (.*)\]$", env.model.model_to_string(num_iteration=-1), re.MULTILINE)
        )
        self._settings["num_iterations"] = str(self._rounds.total)
        # GOSS does not survive it: LightGBM 4.7 then runs out of memory, or worse.
        self._repeatable = self._repeatable and not _is_goss(self._settings)
        self._check(env)
        if self._memory is None:
            self._first_round = env.begin_iteration
        self.remember(partial(CallbackEnv, model=env.model, params=env.params))

    def _check(self, env: Any) -> None:
        """Refuse at once what could not be resumed, or is not a resume."""
        asked, left = env.end_iteration - env.begin_iteration, self._rounds.total - self._rounds.done
        if asked != left:
            raise StateError(
                f"num_boost_round={asked}: counts rounds on top of init_model, must be rounds_left={left}"
            )
        if env.params.get("early_stopping_round"):
            raise StateError(
                f"early_stopping_round={env.params['early_stopping_round']}: its counter would start again on "
                "resume; must be lightgbm.early_stopping(...) among the callbacks given to resume"
            )
        if self._settings["boosting"] == "rf":
            raise StateError("boosting='rf': LightGBM cannot continue a random forest; must be another")
        if (
            self._memory is None
            and not env.begin_iteration
            and env.model.train_set.get_init_score() is not None
        ):
            raise StateError(
                "init_score: LightGBM drops it where it continues a booster; train_set must have none"
            )
        if self._memory is not None and env.begin_iteration != self._memory["iterations"]:
            raise StateError(
                f"init_model has {env.begin_iteration} rounds where {self._memory['iterations']} are expected: "
                "must be the booster that was resumed"
            )
        for named, holds in _NOT_REPEATABLE.items():
            if holds(self._settings):
                _LOG.warning(
                    "a resumed training will differ from an undisturbed one: LightGBM keeps %s", named
                )

    def _reseed(self, model: Any) -> None:
        done = self._rounds.done
        seeds = {name: seed_of(int(self._settings[name]), done) for name in _SEEDS}
        frequency = int(self._settings["bagging_freq"])
        if frequency > 0:
            # Rows stay the same for `bagging_freq` rounds, on both sides of an interruption.
            seeds["bagging_seed"] = seed_of(
                int(self._settings["bagging_seed"]), done // frequency * frequency
            )
            model.reset_parameter({"bagging_freq": frequency + 1})
            seeds["bagging_freq"] = frequency
        model.reset_parameter(seeds)

    def _env(self, whole: Callable[..., Any], done: int, results: Any) -> Any:
        """What a callback would be shown if there had been no interruption."""
        return whole(
            iteration=self._first_round + done,
            begin_iteration=self._first_round,
            end_iteration=self._first_round + self._rounds.total,
            evaluation_result_list=results,
        )

    def _stopped_by_callback(self, env: Any) -> Any:
        try:
            for each in self._after:
                each(env)
        except EarlyStopException as stop:
            return stop
        return None

    def _replay(self, callback: Any, whole: Callable[..., Any]) -> None:
        # LightGBM 4.7 made a class of what were tuples before.
        result = getattr(lightgbm, "EvalResult", lambda *fields: fields)
        try:
            for done, evaluated in enumerate(self._evals):
                callback(self._env(whole, done, [result(*each) for each in evaluated]))
        except EarlyStopException:
            # The past ended with it.
            return

    def _state(self, model: Any, best: int | None) -> tuple[bytes, dict[str, Any]]:
        return model.model_to_string(num_iteration=-1).encode(), {
            "first_round": self._first_round,
            "iterations": model.current_iteration(),
            "evals": list(self._evals),
            "callbacks": [
                (name_of(each), self._carried[id(each)].memory() if id(each) in self._carried else None)
                for each in self._callbacks
            ],
            "best": best,
        }


def _as_histories(evals: Sequence[Sequence[Any]]) -> dict[str, dict[str, list[float]]]:
    histories: dict[str, dict[str, list[float]]] = {}
    for evaluated in evals:
        for data, metric, value, _ in evaluated:
            histories.setdefault(data, {}).setdefault(metric, []).append(value)
    return histories
