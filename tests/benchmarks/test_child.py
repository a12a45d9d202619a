"""What a process took is its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from benchmarks import child

ROOT = Path(__file__).parents[2]
MEASURE = """
import sys
from benchmarks import child
for code in ("block = b'x' * 200_000_000", "pass"):
    print(child.run([sys.executable, "-c", code]).peak_bytes)
"""


def test_peak_memory_is_that_of_the_child() -> None:
    # from a process as small as the suite: a child is told to have no less than its parent had
    done = subprocess.run([sys.executable, "-c", MEASURE], cwd=ROOT, capture_output=True, text=True, check=True)
    large, small = map(int, done.stdout.split())
    # 200 MB of letters are all resident; the interpreter itself differs by a few pages between runs
    assert large - small > 190e6


def test_time_is_wall_clock_and_processor_time_apart() -> None:
    slept = child.run([sys.executable, "-c", "import time; time.sleep(0.5)"])
    assert slept.wall_s > 0.5
    # the start of an interpreter takes hundredths of a second
    assert slept.cpu_s < 0.4


def test_the_last_line_of_a_failure_is_its_error() -> None:
    failed = child.run([sys.executable, "-c", "raise SystemExit('no such model')"])
    assert (failed.exit_code, failed.error()) == (1, "no such model")


def test_a_process_that_takes_too_long_is_ended() -> None:
    stuck = child.run([sys.executable, "-c", "import time; time.sleep(60)"], timeout_s=0.3)
    assert stuck.exit_code < 0
    assert stuck.wall_s < 30
    assert stuck.error() == f"exit code {stuck.exit_code}"
