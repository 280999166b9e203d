"""Why a program failed, by its log: the error, whatever is printed below it."""

import pytest

from nightspot.documents.tracebacks import why_it_failed

BT = "\n".join(f"  [bt] ({n}) /lib/libxgboost.so(_ZN4dmlc+0x{n}a) [0x7f1e{n}]" for n in range(9))
TRACEBACK = 'Traceback (most recent call last):\n  File "train.py", line 3, in <module>\n    main()\n'
CHECK = "[12:00:00] /workspace/src/learner.cc:42: Check failed: eta > 0 (-1 vs. 0)"

CASES = {
    "xgboost": (
        f"[0] rmse=1\n{TRACEBACK}xgboost.core.XGBoostError: {CHECK}\nStack trace:\n{BT}\n",
        f"xgboost.core.XGBoostError: {CHECK}",
    ),
    "xgboost-without-python": (f"{CHECK}\nStack trace:\n{BT}\n", CHECK),
    "lines-after-the-traceback": (
        f"{TRACEBACK}ValueError: no rows\nwandb: Run history:\nwandb: loss 0.1\n\nwandb: bye",
        "ValueError: no rows",
    ),
    "the-one-that-was-raised-while-handling": (
        f"{TRACEBACK}KeyError: 'lr'\n\nDuring handling of the above exception, another exception occurred:\n\n"
        f"{TRACEBACK}RuntimeError: no learning rate\n",
        "RuntimeError: no learning rate",
    ),
    "usage": (
        "usage: train.py [-h]\ntrain.py: error: unrecognized arguments: --x 1\n",
        "train.py: error: unrec",
    ),
    "c++": (
        "terminate called after throwing an instance of 'std::bad_alloc'\n  what():  std::bad_alloc\nbye\n",
        "what():  std::bad_alloc",
    ),
    "nothing-but-words": ("step 1\nno space left on the card\n\n", "no space left on the card"),
    "nothing": ("", ""),
}


@pytest.mark.parametrize(("log", "said"), CASES.values(), ids=CASES)
def test_the_error_is_the_reason_and_not_the_last_line(log, said):
    why = why_it_failed(log)
    assert why.splitlines()[:1] == said.splitlines()[:1] or why.startswith(said)
    assert "[bt]" not in why
    assert (why == "") is (said == "")


def test_what_the_script_left_as_its_reason_comes_first():
    log = f"{TRACEBACK}ValueError: no rows\n"
    assert why_it_failed(log, "the input is empty\nsee the manual") == "the input is empty\nsee the manual"
    assert (
        why_it_failed("", f"Exception during training:\n{TRACEBACK}OSError: disk full\n")
        == "OSError: disk full"
    )
