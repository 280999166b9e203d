"""What sagemaker-training 5.1.4 itself makes of the cases of cases.json; a script for a Python that has it.

That package is no dependency: it builds a C extension and brings SciPy, gevent and paramiko.

python ask.py cases.json writes the answers there; python ask.py < case writes that of one case to standard output.
"""

import io
import json
import multiprocessing
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

GROUP = {"instance_group_name": "homogeneousCluster", "instance_type": "ml.g5.xlarge", "hosts": ["algo-1"]}
RESOURCES = {
    "current_host": "algo-1",
    "current_instance_type": "ml.g5.xlarge",
    "current_group_name": "homogeneousCluster",
    "hosts": ["algo-1"],
    "instance_groups": [GROUP],
    "network_interface_name": "lo",
}


def archive(members):
    """A .tar.gz of [name, text] and of [name, "->", target] for links."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, *content in members:
            entry = tarfile.TarInfo(name)
            if len(content) == 2:
                entry.type, entry.linkname = tarfile.SYMTYPE, content[1]
                tar.addfile(entry)
            else:
                entry.size = len(content[0])
                tar.addfile(entry, io.BytesIO(content[0].encode()))
    return buffer.getvalue()


def files_of(folder):
    return sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*") if not path.is_dir())


def main(case):
    base = Path(tempfile.mkdtemp(), "opt", "ml")
    config = base / "input" / "config"
    config.mkdir(parents=True)
    written = {
        "hyperparameters": case["hyperparameters"],
        "resourceconfig": RESOURCES,
        "inputdataconfig": case.get("channels", {}),
    }
    for name, content in written.items():
        Path(config, f"{name}.json").write_text(json.dumps(content))
    os.environ.update(SAGEMAKER_BASE_DIR=str(base), TRAINING_JOB_NAME="job", AWS_DEFAULT_REGION="eu-west-1")
    os.environ.update(case.get("environment", {}))
    multiprocessing.cpu_count = lambda: 4
    from sagemaker_training import environment, errors, files, process

    Path(base, "archive").write_bytes(archive(case.get("archive", [])))
    files.download_and_extract(str(base / "archive"), environment.code_dir)
    known = environment.Environment()
    answer = {"arguments": known.to_cmd_args(), "files": files_of(environment.code_dir)}
    if case["source"] in {"mapping.py", "environment.py"}:
        set_by_it = {name: os.environ[name] for name in ("CURRENT_HOST", "SAGEMAKER_JOB_NAME")}
        answer["variables"] = {**known.to_env_vars(), **set_by_it}
    try:
        runner = process.ProcessRunner(known.user_entry_point, known.to_cmd_args(), {}, 1)
        answer["command"] = runner._create_command()
    except errors.ClientError:
        answer["command"] = "refused"
    text = json.dumps(answer).replace(str(base), "/opt/ml").replace(sys.executable, "python")
    return json.loads(text)


def ask(case):
    """The answer of a process of its own: the package reads its environment when it is imported."""
    done = subprocess.run(
        [sys.executable, __file__], input=json.dumps(case), capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


if __name__ == "__main__" and len(sys.argv) > 1:
    cases = json.loads(Path(sys.argv[1]).read_text())
    answered = {name: {**case, "answer": ask(case)} for name, case in cases.items()}
    Path(sys.argv[1]).write_text(json.dumps(answered, indent=1) + "\n")
elif __name__ == "__main__":
    json.dump(main(json.load(sys.stdin)), sys.stdout)
