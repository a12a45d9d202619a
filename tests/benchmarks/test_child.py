"""What a process took is its own."""

import sys

from benchmarks import child


def test_peak_memory_is_that_of_the_child():
    large = child.run([sys.executable, "-c", "block = b'x' * 400_000_000"])
    small = child.run([sys.executable, "-c", "pass"])
    # 400 MB of letters are all resident; an interpreter alone is told to have no less than its parent had
    assert large.peak_bytes > 400e6
    assert small.peak_bytes < 400e6


def test_time_is_wall_clock_and_processor_time_apart():
    slept = child.run([sys.executable, "-c", "import time; time.sleep(0.5)"])
    assert slept.wall_s > 0.5
    # the start of an interpreter takes hundredths of a second
    assert slept.cpu_s < 0.4


def test_the_last_line_of_a_failure_is_its_error():
    failed = child.run([sys.executable, "-c", "raise SystemExit('no such model')"])
    assert (failed.exit_code, failed.error()) == (1, "no such model")


def test_a_process_that_takes_too_long_is_ended():
    stuck = child.run([sys.executable, "-c", "import time; time.sleep(60)"], timeout_s=0.3)
    assert stuck.exit_code < 0
    assert stuck.wall_s < 30
    assert stuck.error() == f"exit code {stuck.exit_code}"
