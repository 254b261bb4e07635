"""Every input of the corpus once: what was mended stays mended, on every Python."""

from __future__ import annotations

import time

import pytest

from tests.fuzz.targets import TARGETS, run, seeds

LONGEST_S = 5.0


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_has_inputs(target):
    assert seeds(target)


@pytest.mark.parametrize("target", TARGETS)
def test_inputs_that_once_were_findings_are_findings_no_more(target):
    for seed in seeds(target):
        began = time.process_time()
        run(target, seed.read_bytes())
        assert time.process_time() - began < LONGEST_S, seed.name
