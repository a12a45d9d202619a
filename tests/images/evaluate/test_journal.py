"""An evaluation that was interrupted goes on, and ends as it would have."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import nfexport
from nfexport.errors import InputError
from tests.images.evaluate.conftest import NAMES, Answered, waves

TRIES = 5


def without_timing(result: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in result.items() if key != "timing"}


def test_an_interrupted_run_goes_on_to_the_same_report(model: Path, tmp_path: Path) -> None:
    for seed in range(6):
        waves(seed, 700, 900).save(tmp_path / f"{seed}.jpg")
    for place, name in enumerate(NAMES):
        (tmp_path / "val" / name).mkdir(parents=True)
        for number in range(12):
            os.link(tmp_path / f"{(number + place) % 6}.jpg", tmp_path / "val" / name / f"{number}.jpg")
    (tmp_path / "val" / "ant" / "bad.jpg").write_bytes(b"no image")
    journal = tmp_path / "journal.jsonl"
    command = [
        sys.executable,
        "-m",
        "nfexport",
        "evaluate",
        str(model),
        str(tmp_path / "val"),
        "--json",
        "--per-class",
    ]
    options = ["--batch", "2", "--workers", "1", "--resume", str(journal)]
    for _ in range(TRIES):
        journal.unlink(missing_ok=True)
        running = subprocess.Popen(
            [*command, *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # a shell that starts the tests in the background lets them, and theirs, ignore it
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        while running.poll() is None and not (journal.exists() and journal.read_bytes().count(b"\n") >= 6):
            time.sleep(0.002)
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=60)
        if running.returncode == 130:  # on a busy machine it may be done before the signal is sent
            break
    assert (running.returncode, out) == (130, "")
    assert err == f"nfexport: interrupted; run the same command again to continue from '{journal}'\n"
    known = journal.read_bytes().count(b"\n") - 1
    assert 5 <= known < 61  # half-way, and not done
    again = subprocess.run([*command, *options], capture_output=True, text=True)
    whole = nfexport.evaluate(model, tmp_path / "val", batch=2, workers=2).to_dict(per_class=True)
    resumed = json.loads(again.stdout)
    assert resumed["timing"]["from_journal"] == 2 * known
    assert without_timing(resumed) == without_timing(whole) | {"unmet": [], "recorded": False}
    assert again.returncode == 1  # for the image that cannot be read


def test_a_line_without_its_end_is_dropped(model: Path, answered: Answered, tmp_path: Path) -> None:
    journal = tmp_path / "j"
    whole = nfexport.evaluate(model, answered.root, resume=journal, against="torch").to_dict(per_class=True)
    complete = journal.read_bytes()
    lines = complete.splitlines(keepends=True)
    for content in (
        b"".join(lines[:4]) + lines[4][:25],
        b"".join(lines) + b"x" * 9,
        lines[0][:30],
        b"".join(lines[:1]),
        b"",
    ):
        journal.write_bytes(content)
        again = nfexport.evaluate(model, answered.root, resume=journal, against="torch").to_dict(per_class=True)
        assert without_timing(again) == without_timing(whole)
        assert journal.read_bytes() == complete
    last = nfexport.evaluate(model, answered.root, resume=journal, against="torch")
    assert (last.from_journal, last.images_per_second) == (60, 0)
    assert without_timing(last.to_dict(per_class=True)) == without_timing(whole)


def test_a_journal_of_format_1_is_continued(model: Path, answered: Answered, tmp_path: Path) -> None:
    """Its first line has the number of images under another key."""
    journal = tmp_path / "j"
    nfexport.evaluate(model, answered.root, resume=journal)
    first, *batches = journal.read_bytes().splitlines(keepends=True)
    old = first.replace(b'"format":2', b'"format":1').replace(b'"images"', b'"pictures"')
    assert old != first
    journal.write_bytes(old + b"".join(batches[:3]))
    again = nfexport.evaluate(model, answered.root, resume=journal)
    assert again.from_journal == 24
    assert journal.read_bytes() == old + b"".join(batches)


def test_a_journal_of_something_else_is_refused(model: Path, answered: Answered, tmp_path: Path) -> None:
    journal = tmp_path / "j"
    nfexport.evaluate(model, answered.root, resume=journal, limit=20)
    before = journal.read_bytes()
    with pytest.raises(InputError, match="is of another evaluation, with another list of images and classes; name"):
        nfexport.evaluate(model, answered.root, resume=journal, limit=21)
    with pytest.raises(InputError, match="another batch size and another list of runtimes"):
        nfexport.evaluate(model, answered.root, resume=journal, limit=20, batch=4, against="torch")
    other = tmp_path / "other.onnx"
    other.write_bytes(model.read_bytes())
    with other.open("r+b") as file:  # one weight
        file.seek(-100, 2)
        file.write(b"\x01")
    with pytest.raises(InputError, match="with another model file;"):
        nfexport.evaluate(other, answered.root, resume=journal, limit=20)
    assert journal.read_bytes() == before
    lines = before.splitlines(keepends=True)
    journal.write_bytes(lines[0] + lines[2])
    with pytest.raises(InputError, match="is damaged in line 2; name another file"):
        nfexport.evaluate(model, answered.root, resume=journal, limit=20)
    journal.write_text("my notes\n")
    with pytest.raises(InputError, match="is not a journal of an evaluation"):
        nfexport.evaluate(model, answered.root, resume=journal, limit=20)
    assert journal.read_text() == "my notes\n"


def test_a_recorded_accuracy_makes_no_other_model_file(model: Path, answered: Answered, tmp_path: Path) -> None:
    from nfexport.images.evaluate.accuracy_record import record_accuracy

    file, journal = tmp_path / "m.onnx", tmp_path / "j"
    file.write_bytes(model.read_bytes())
    result = nfexport.evaluate(file, answered.root, resume=journal)
    record_accuracy(file, result.accuracy())
    assert nfexport.evaluate(file, answered.root, resume=journal).from_journal == 60
