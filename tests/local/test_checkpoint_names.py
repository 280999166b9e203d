"""The names in checkpoint files of other libraries, read without loading them."""

import io
import json
import os
import pickle
import random
import struct
import zipfile

from nightspot.local.checkpoint_names import names_in


def test_a_pickle_s_names_are_read_and_nothing_of_it_is_executed(tmp_path):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "executed"),)

    (tmp_path / "ckpt.pkl").write_bytes(pickle.dumps({"epoch": 3, "weights": [1.0], "trap": Trap()}))
    assert set(names_in(tmp_path)) >= {"epoch", "weights", "trap"}
    assert not (tmp_path / "executed").exists()


def test_of_a_file_as_torch_writes_it_the_names_are_in_its_pickle(tmp_path):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        state = {"model": {"0.weight": 1}, "optimizer": {"momentum_buffer": 2}}
        archive.writestr("archive/data.pkl", pickle.dumps(state, protocol=2))
        archive.writestr("archive/data/0", b"\0" * 100)
    (tmp_path / "ckpt-0001.pt").write_bytes(content.getvalue())
    assert names_in(tmp_path) == ("model", "0.weight", "optimizer", "momentum_buffer")


def test_arrays_safetensors_and_json_have_names(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("rng_state.npy", b"x")
    assert names_in(tmp_path) == ("rng_state",)
    head = json.dumps({"layer.weight": {"dtype": "F32"}}).encode()
    (tmp_path / "b.safetensors").write_bytes(struct.pack("<Q", len(head)) + head + b"\0" * 8)
    os.utime(tmp_path / "b.safetensors", (2e9, 2e9))
    assert names_in(tmp_path)[0] == "layer.weight"
    (tmp_path / "c.json").write_text('{"epoch": 1, "deep": [{"random": 2}]}')
    os.utime(tmp_path / "c.json", (3e9, 3e9))
    assert names_in(tmp_path)[:2] == ("epoch", "deep")


def test_a_file_that_is_torn_or_of_another_kind_is_passed_over(tmp_path):
    assert names_in(tmp_path) == ()
    assert names_in(tmp_path / "none") == ()
    (tmp_path / "old.pkl").write_bytes(pickle.dumps({"epoch": 1}))
    os.utime(tmp_path / "old.pkl", (1e9, 1e9))
    rng = random.Random(7)
    for n in range(5):
        (tmp_path / f"noise-{n}").write_bytes(b"\xff" + rng.randbytes(200))
    (tmp_path / "torn.json").write_text('{"epoch": ')
    (tmp_path / "empty").write_bytes(b"")
    assert names_in(tmp_path) == ("epoch",)
