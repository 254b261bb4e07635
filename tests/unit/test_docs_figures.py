"""docs/figures.md: its snippet is run, and its numbers are those of the code."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from daq.figures import circuits, differential, pulses, scopes, soc, spectra
from daq.figures.batch import LEAST_CELLS, OUTLYING, Criteria
from daq.report import summary
from tests import runs
from tests.virtual import closed_file

PAGE = Path(__file__).parents[2] / "docs" / "figures.md"
TEXT = PAGE.read_text("utf-8")
WORDS = " ".join(TEXT.split())


def test_the_snippet_of_the_page_runs(tmp_path: Path) -> None:
    info = runs.run_info()
    runs.write(tmp_path / "journal.sqlite", (info, runs.formation(info)))
    (tmp_path / "data").mkdir()
    closed_file(tmp_path / "journal.sqlite", info.id, tmp_path / "data")
    (script,) = re.findall(r"^```python\n(.*?)^```", TEXT, re.S | re.M)
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert re.match(r"1 1\.72\d* 8[56]\.\d+\n2 1\.9[56]\d* 9[78]\.\d+\n\d", done.stdout)


def test_the_numbers_on_the_page_are_those_of_the_code() -> None:
    assert circuits.DEFAULT in TEXT
    times = ", ".join(f"{time_s:g} s" for time_s in pulses.TIMES_S[:2])
    assert f"at {times}, 10 s (DOE/ID-11069), 18 s (ISO 12405) and 30 s" in WORDS
    assert pulses.TIMES_S[2:] == (10.0, 18.0, 30.0)
    assert f"at least {100 * pulses.LEAST_STEP:g} % of 1C" in WORDS
    assert f"within {100 * pulses.STEADY:g} % of the step of current" in WORDS
    assert (pulses.APART, 1e3 * pulses.LEAST_APART_S) == (0.25, 60.0)
    assert f"at least {100 * scopes.LEAST_SHARE:g} % of the greater" in WORDS
    assert f"at least {100 * soc.MOST:g} % of the nominal" in WORDS
    assert f"moved {100 * summary.LEAST_CAPACITY:g} % of the nominal" in WORDS
    smoothing = differential.Smoothing()
    assert f"bins of {1e3 * smoothing.bin_V:g} mV" in WORDS
    assert f"Gaussian of {1e3 * smoothing.sigma_V:g} mV" in WORDS
    assert f"at {smoothing.parts} even parts" in WORDS
    assert f"a Gaussian of {100 * smoothing.sigma:g} % of the step's charge" in WORDS
    assert f"Residuals above {spectra.SOUND_PCT:g} % of |Z|" in WORDS
    assert (spectra.PAIRS_A_DECADE, LEAST_CELLS) == (3, 4)
    assert f"{OUTLYING:g} times MAD" in WORDS
    criteria = Criteria()
    assert f"{criteria.least_capacity_pct:g} % of the nominal capacity (`--least" in WORDS
    assert f"{criteria.least_efficiency_pct:g} % coulombic efficiency" in WORDS
    assert f"at most {criteria.most_efficiency_pct:g} % (`--most-efficiency`" in WORDS
