"""Logging of a stage, in a process of its own: handlers of the root logger belong to the whole process."""

import subprocess
import sys

CODE = """
import logging, sys, warnings
from pathlib import Path
from components.base.log import set_up_logging
from components.base.progress import bar

set_up_logging("prepare", Path(sys.argv[1]))
with bar("tasks", 2) as shown:
    logging.getLogger("components.data.prepare").info("faq: train %s of %s", 90, 100)
    shown.update(2)
logging.getLogger("transformers.modeling").info("chatter")
logging.getLogger("transformers.modeling").warning("a real problem")
logging.getLogger("bm25s").setLevel(logging.DEBUG)
logging.getLogger("bm25s").debug("Building index")
warnings.warn("`is_gradient_checkpointing` is deprecated", FutureWarning)
with warnings.catch_warnings():
    warnings.simplefilter("always", category=UserWarning)
    warnings.warn("Add type hints to the `predict` method to enable data validation")
warnings.warn("your data is odd")
"""


def test_a_stage_s_lines_are_on_stderr_and_in_its_file_and_chatter_is_not(tmp_path):
    file = tmp_path / "logs" / "prepare.log"
    done = subprocess.run([sys.executable, "-c", CODE, str(file)], capture_output=True, text=True, check=True)
    said = [line.split(" ", 1)[1] for line in file.read_text().splitlines()]
    assert said == ["prepare: faq: train 90 of 100", "prepare: a real problem"]
    assert "prepare: faq: train 90 of 100" in done.stderr
    assert "chatter" not in done.stderr
    assert "is_gradient_checkpointing" not in done.stderr
    assert "type hints" not in done.stderr
    assert "your data is odd" in done.stderr


QUIET = """
import logging
from components.base.log import quiet_libraries

quiet_libraries(progress_bars=False)
logging.getLogger("bitsandbytes.backends.cpu.ops").warning("an optional kernel is missing")
logging.getLogger("transformers.modeling").warning("a real problem")
"""


def test_a_command_without_a_log_is_quiet_too():
    done = subprocess.run([sys.executable, "-c", QUIET], capture_output=True, text=True, check=True)
    assert done.stderr == "a real problem\n"
