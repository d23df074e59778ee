"""A forked process of tests/warm_python.py looks to its parent like any."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """\
import os, signal, sys, time
print(sys.argv[1:], os.getcwd(), os.environ["SAID"], __name__, sys.stdin.read(), "torch" in sys.modules, flush=True)
if sys.argv[1] == "wait":
    time.sleep(60)
sys.exit(int(sys.argv[2]))
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    (tmp_path / "script.py").write_text(SCRIPT)
    return tmp_path / "script.py"


@pytest.mark.slow
def test_arguments_folder_environment_input_and_status_arrive(warm_folder: Path, script: Path) -> None:
    command = [warm_folder / "python", "script.py", "a b", "7"]
    done = subprocess.run(
        command, cwd=script.parent, env={"SAID": "hello"}, input="typed", capture_output=True, text=True
    )
    assert done.stdout == f"['a b', '7'] {script.parent} hello __main__ typed True\n"
    assert (done.returncode, done.stderr) == (7, "")
    failed = subprocess.run([warm_folder / "python", "-m", "dvc", "nonsense"], capture_output=True, text=True)
    assert failed.returncode == 254
    assert "nonsense" in failed.stderr


@pytest.mark.slow
@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM])
def test_a_signal_to_it_ends_it(warm_folder: Path, script: Path, sign: signal.Signals) -> None:
    command = [str(warm_folder / "python"), str(script), "wait", "0"]
    with subprocess.Popen(command, env={"SAID": "x"}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as started:
        assert started.stdout is not None
        assert started.stdout.readline()
        started.send_signal(sign)
        assert started.stdout.read() == b""  # the forked process, which has the other end, has ended
    assert started.returncode == -signal.SIGKILL


def test_other_commands_start_as_ever(warm_folder: Path) -> None:
    code = "import sys; print(sys.executable, 'torch' in sys.modules)"
    done = subprocess.run([warm_folder / "python", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == f"{sys.executable} False\n"


@pytest.mark.slow
def test_prefect_reads_the_settings_of_each_process(warm_folder: Path) -> None:
    for address in ("http://127.0.0.1:9/api", "http://127.0.0.1:10/api"):
        env = {**os.environ, "PREFECT_API_URL": address}
        command = [warm_folder / "prefect", "config", "view"]
        said = subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout
        assert f"PREFECT_API_URL='{address}'" in said


@pytest.mark.slow
def test_prefect_s_logging_is_not_that_of_a_process_without_prefect(warm_folder: Path, script: Path) -> None:
    subprocess.run([warm_folder / "prefect", "version"], capture_output=True, check=True)
    script.write_text("import logging; print(logging.root.handlers, logging.root.level)")
    said = subprocess.run([warm_folder / "python", str(script)], capture_output=True, text=True, check=True).stdout
    assert said == "[] 30\n"


def test_outside_pytest_the_programs_are_the_environment_s_own() -> None:
    code = "import sys; from tests.warm_python import warm_python; print(warm_python() / 'foundry')"
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parents[1], capture_output=True, text=True, check=True
    )
    assert said.stdout.strip() == str(Path(sys.executable).parent / "foundry")
