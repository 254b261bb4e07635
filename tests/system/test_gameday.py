"""`daq gameday`: both rehearsals hold on this very program."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest


@pytest.mark.timeout(300)
def test_the_rehearsals_hold_and_say_what_happened_when(tmp_path):
    words = [sys.executable, "-m", "daq.cli", "gameday", "--json", "--keep", str(tmp_path / "day")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    told = json.loads(done.stdout)
    assert told["held"]
    assert len(told["expectations"]) >= 14
    said = [moment["what"] for moment in told["timeline"]]
    order = ["kill -9", "the output went OFF", "gap marked", "reads 45 K", "trip T", "cleared by"]
    places = [next(at for at, what in enumerate(said) if word in what) for word in order]
    assert places == sorted(places)
    stamps = [moment["s"] for moment in told["timeline"]]
    assert stamps == sorted(stamps)
    assert (tmp_path / "day" / "data" / "journal.sqlite").exists()
