"""Trainings as a drill would have seen them, to be judged without any process."""

from dataclasses import replace

import pytest

from nightspot.drill.lives import Kill, KillKind, Life, RestoreSeen, SaveSeen, SeenStep, StepSeen, Training

LAST, EVERY = 12, 3


class Story:
    """A training of twelve steps, a checkpoint after every third; its state and loss are a function of the step."""

    last, every = LAST, EVERY

    def step(self, number, **changes):
        """What an undisturbed training shows of this step; `parts` are changed one by one."""
        parts = {name: f"{name}@{number}" for name in ("weights", "optimiser", "generator")}
        parts.update(changes.pop("parts", {}))
        given = {"metrics": {"loss": 1 / number}, "parts": parts, "at": float(number)}
        return StepSeen(number, **{**given, **changes})

    def life(self, first=1, last=LAST, *, restored=None, kill=None, changed=(), **changes):
        """A life from one step to another; `changed` are steps to put in the place of the right ones."""
        steps = {n: self.step(n) for n in range(first, last + 1)} | {each.step: each for each in changed}
        seen = SeenStep(
            library=True,
            steps=tuple(steps[n] for n in sorted(steps)),
            restore=RestoreSeen(restored, seconds=0.01),
            saves=tuple(SaveSeen(n, at=float(n)) for n in steps if n % EVERY == 0),
        )
        seen = replace(seen, **changes.pop("seen", {}))
        given = {"exit_code": 0 if kill is None else None, "found": 0 if first == 1 else 2, "seconds": 2.0}
        return Life(seen, kill=kill and Kill(1, kill), **{**given, **changes})

    def training(self, *lives, model=None):
        """The lives with the model that the undisturbed training has, or another."""
        return Training(lives or (self.life(),), {"model.bin": "right"} if model is None else model)

    def killed_at(self, step, *, kind=KillKind.KILL, **then):
        """Killed after this step, and a second life to the end that continues from the newest checkpoint."""
        restored = step - step % EVERY
        then = {"first": restored + 1, "restored": restored, **then}
        return self.training(self.life(last=step, kill=kind), self.life(**then))


@pytest.fixture(scope="session")
def story():
    return Story()
