"""Every target under hypothesis: the corpus's inputs, cut, joined, repeated and bent.

Beside atheris, because a finding here comes shrunk to what matters, and on every Python.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import TARGETS, run, seeds

PER_SECOND = 60
SHORT_S = 1.0
SLOW = {"lab": 8, "protocol": 4, "yaml": 4, "exchange": 4}
"""How many times fewer examples: these take milliseconds each."""

WORDS = [
    b"\n", b"\xfe", b"\xfc", b"\xff", b"\0", b"nan", b"9.91E37", b"-1e999", b"1,5", b";", b":",
    b"- ", b"{", b"}", b"[", b"&a ", b"*a", b"!!int ", b"\\u0000", b"..", b"/", b"$v_max",
    b"OUTP 1", b"e\n",
]  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn, target: str) -> bytes:
    """An input of the corpus with a few edits, as a person or a bad line would make them."""
    data = draw(st.sampled_from([seed.read_bytes() for seed in seeds(target)]))
    for _ in range(draw(st.integers(0, 5))):
        begin = draw(st.integers(0, len(data)))
        end = draw(st.integers(begin, min(len(data), begin + 40)))
        new: Any = draw(
            st.sampled_from(WORDS) | st.binary(max_size=8) | st.just(data[begin:end] * 2)
        )
        data = data[:begin] + new + data[end:]
    return data


@pytest.mark.parametrize("target", TARGETS)
def test_no_mutation_is_more_than_refused(target, seconds):
    examples = max(5, round(PER_SECOND * seconds(SHORT_S)) // SLOW.get(target, 1))

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(mutated(target))
    def no_mutation_is_a_finding(data: bytes) -> None:
        run(target, data)

    no_mutation_is_a_finding()
