"""The table of a dry run shows the loops and the branches that a step stands in."""

from __future__ import annotations

from daq.cli.outline import heading, outline
from daq.protocol.program import Step
from tests.unit.fakes import CHARGE, REST, program

STEPS = """
  - rest: 1 min
  - repeat: 3
    until: last.charge <= 80 % of first
    steps:
      - {discharge: C/2, until: voltage <= 2.7 V, at_most: 3 h, save: first}
      - repeat: 2
        steps:
          - rest: 2 min
      - if: cycle >= 2
        then:
          - rest: 3 min
        else:
          - rest: 4 min
      - {charge: C/2, until: voltage >= 4.2 V, at_most: 3 h, save: last}
  - rest: 5 min
"""


def test_steps_stand_inside_their_loops_and_branches() -> None:
    lines = [
        (depth, item.text.partition(" until ")[0] if isinstance(item, Step) else heading(item))
        for depth, item in outline(program(STEPS))
    ]
    assert lines == [
        (0, "rest 1 min"),
        (0, "up to 3 cycles"),
        (1, "discharge C/2"),
        (1, "repeat 2 times"),
        (2, "rest 2 min"),
        (1, "if cycle >= 2"),
        (2, "rest 3 min"),
        (1, "else"),
        (2, "rest 4 min"),
        (1, "charge C/2"),
        (0, "rest 5 min"),
    ]


def test_the_one_cycle_of_a_program_without_loops_is_not_shown() -> None:
    assert [depth for depth, _ in outline(program(CHARGE, REST))] == [0, 0]
