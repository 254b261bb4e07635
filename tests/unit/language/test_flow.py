"""Where a program goes on: loops, branches, gotos, ends, references, and what is refused."""

from __future__ import annotations

import json
import re

import pytest

from daq.errors import InputError
from daq.protocol.engine import Engine
from tests.unit.language.bench import Player, compiled, play

FULL = "{cccv: {charge: 2C, voltage: 4.2 V}, until: current <= C/20, at_most: 3 h}"
EMPTY = "{discharge: 2C, until: voltage <= 3.1 V, at_most: 2 h}"


def test_which_condition_has_fired_decides_where_the_program_goes_on() -> None:
    steps = """\
  - label: again
    charge: 1C
    until:
      - voltage >= 4 V
      - {when: temperature >= 40 degC, goto: cool}
    at_most: 3 h
  - goto: done
  - label: cool
    rest: 30 min
    until: temperature <= 30 degC
  - goto: again
    times: 2
  - label: done
    rest: 1 min"""
    cool = play(steps)
    assert cool.numbers == [1, 3]
    once_hot = play(steps, celsius=lambda time_s: 45.0 if 10 <= time_s < 20 else 25.0)
    assert once_hot.numbers == [1, 2, 1, 3]
    assert once_hot.ended[0] == (1, "temperature >= 40 degC")


def test_a_goto_that_goes_back_too_often_fails_the_run() -> None:
    player = play("  - {label: a, rest: 1 min}\n  - {goto: a, times: 3}")
    assert player.numbers == [1, 1, 1, 1]
    assert player.finished
    assert player.finished.outcome == "failed"
    assert player.finished.reason == "went back to 'a' 3 times, and once more"
    assert player.setpoint is None


def test_a_goto_may_leave_loops_and_the_count_of_cycles_goes_on() -> None:
    player = play(
        f"""\
  - repeat: 5
    steps:
      - {FULL}
      - discharge: 2C
        until:
          - voltage <= 3.1 V
          - {{when: cycle.discharge >= 100 mAh and run.discharge >= 1.2 Ah, goto: out}}
        at_most: 2 h
  - rest: 1 h
  - label: out
    rest: 1 min"""
    )
    assert player.numbers == [1, 2, 1, 2, 4]
    assert [cycle for _, _, cycle in player.started] == [1, 1, 2, 2, 2]


def test_the_end_of_a_cycle_skips_what_is_left_of_its_pass() -> None:
    player = play(
        """\
  - repeat: 2
    steps:
      - {charge: 1C, until: time >= 10 min, at_most: 1 h}
      - discharge: 1C
        until: [{when: time >= 5 min, end: cycle}]
        at_most: 1 h
      - rest: 1 h
  - rest: 1 min"""
    )
    assert player.numbers == [1, 2, 1, 2, 4]


def test_the_end_of_a_repeat_leaves_the_innermost_loop_only() -> None:
    player = play(
        """\
  - repeat: 2
    steps:
      - repeat: 10
        steps:
          - rest: 1 min
          - if: run.time >= 3 min
            then: [{end: repeat}]
      - rest: 2 min"""
    )
    assert player.numbers == [1, 1, 1, 2, 1, 2]


def test_the_end_of_the_run_completes_it_and_says_why() -> None:
    player = play("  - {charge: 1C, until: [{when: time >= 1 min, end: run}], at_most: 1 h}\n"
                  "  - rest: 1 h")  # fmt: skip
    assert player.numbers == [1]
    assert player.finished
    assert (player.finished.outcome, player.finished.reason) == ("completed", "time >= 1 min")


@pytest.mark.parametrize(("minutes", "ran"), [(5, [1, 3, 4]), (15, [1, 2, 4])])
def test_one_branch_runs_or_the_other(minutes: int, ran: list[int]) -> None:
    player = play(
        f"""\
  - rest: {minutes} min
  - if: run.time >= 10 min
    then: [{{rest: 1 min}}]
    else: [{{rest: 2 min}}]
  - rest: 3 min"""
    )
    assert player.numbers == ran


def test_branches_in_branches_meet_again() -> None:
    player = play(
        """\
  - rest: 5 min
  - if: run.time >= 1 min
    then:
      - if: run.time >= 10 min
        then: [{rest: 1 min}]
    else:
      - rest: 2 min
  - rest: 3 min"""
    )
    assert player.numbers == [1, 4]


def test_a_cell_is_cycled_until_it_has_lost_a_fifth_of_a_named_reference() -> None:
    class Fading(Player):
        def tick(self) -> None:
            if self.current_A:
                self.capacity_Ah *= 1 - 5e-5
            super().tick()

    program = compiled(
        f"""\
  - {FULL}
  - {{discharge: 2C, until: voltage <= 3.1 V, at_most: 2 h, save: initial}}
  - repeat: 500
    until: cycle.discharge <= 80 % of initial
    steps:
      - {FULL}
      - {EMPTY}
  - rest: 1 min"""
    )
    player = Fading(program, dt_s=5.0).run()
    assert player.finished
    assert player.finished.outcome == "completed"
    assert 3 < max(cycle for _, _, cycle in player.started) < 20
    assert player.numbers[-1] == 5


def test_a_cycle_is_compared_with_an_earlier_one() -> None:
    player = play(
        f"""\
  - repeat: 4
    steps:
      - {FULL}
      - discharge: 2C
        until: [voltage <= 3.1 V, 'cycle.discharge >= 50 % of cycle 1']
        at_most: 2 h
"""
    )
    reasons = [reason for number, reason in player.ended if number == 2]
    assert reasons == ["voltage <= 3.1 V", *["cycle.discharge >= 50 % of cycle 1"] * 3]


def test_the_previous_cycle_is_the_one_before() -> None:
    player = play(
        f"""\
  - repeat: 3
    steps:
      - {FULL}
      - discharge: 2C
        until: [voltage <= 3.1 V, 'cycle.discharge >= 50 % of previous cycle']
        at_most: 2 h
""",
        dt_s=0.5,
    )
    starts = [time_s for time_s, step, _ in player.started if step.number == 2]
    charges = [time_s for time_s, step, _ in player.started if step.number == 1]
    lasted = [end - start for start, end in zip(starts, [*charges[1:], player.time_s], strict=True)]
    assert lasted[1] / lasted[0] == pytest.approx(0.5, abs=0.01)
    assert lasted[2] / lasted[0] == pytest.approx(0.25, abs=0.01)


def test_a_step_that_is_satisfied_is_skipped_and_says_so() -> None:
    player = play(f"  - {FULL}\n  - {FULL}\n  - rest: 1 min", soc=1.2)
    assert player.ended[0][1].startswith("current <=")
    player = play("  - {charge: 1C, until: voltage >= 3.5 V, at_most: 1 h}\n  - rest: 1 min")
    assert player.ended == [(1, "already satisfied: voltage >= 3.5 V"), (2, "60 s")]


def test_a_satisfied_step_goes_where_its_condition_leads_and_saves_nothing() -> None:
    player = play(
        """\
  - charge: 1C
    until: [{when: voltage >= 3.5 V, goto: out}]
    at_most: 1 h
    save: capacity
  - rest: 1 h
  - label: out
    rest: 10 min
    until: voltage >= 50 % of capacity"""
    )
    assert player.numbers == [1, 3]
    assert player.ended[-1][1] == "time >= 10 min"


def test_a_disabled_step_is_checked_and_keeps_its_number() -> None:
    player = play(
        "  - rest: 1 min\n"
        "  - {charge: 1C, until: voltage >= 4.2 V, at_most: 1 h, disabled: no need}\n"
        "  - repeat: 3\n    disabled: true\n    steps: [{rest: 1 min}]\n"
        "  - rest: 2 min"
    )
    assert player.numbers == [1, 4]
    with pytest.raises(InputError, match=r"above the 4\.5 V"):
        compiled("  - rest: 1 min\n"
                 "  - {hold: 5 V, until: time >= 1 min, at_most: 1 h, disabled: true}")  # fmt: skip


def test_cycles_may_be_counted_as_the_author_says() -> None:
    pulses = "      - {pulse: {discharge: 1C, for: 10 s}}\n      - {pulse: {charge: 1C, for: 10 s}}"
    assert {cycle for _, _, cycle in play(f"  - repeat: 3\n    steps:\n{pulses}").started} == {1}
    counted = play(f"  - repeat: 3\n    cycle: true\n    steps:\n{pulses}")
    assert [cycle for _, _, cycle in counted.started] == [1, 1, 2, 2, 3, 3]
    not_counted = play(
        f"  - repeat: 2\n    cycle: false\n    steps:\n      - {FULL}\n      - {EMPTY}"
    )
    assert {cycle for _, _, cycle in not_counted.started} == {1}


def test_the_longest_time_counts_what_a_goto_may_do_again() -> None:
    plain = compiled("  - {label: a, rest: 10 min}\n  - rest: 1 min")
    back = compiled("  - {label: a, rest: 10 min}\n  - {goto: a, times: 5}\n  - rest: 1 min")
    assert back.at_most_s - plain.at_most_s == 5 * 600.0
    cycles = compiled(
        f"  - label: a\n    repeat: 2\n    steps:\n      - {FULL}\n      - {EMPTY}\n"
        "  - {goto: a, times: 3}"
    )
    assert cycles.cycles == 8


R = "  - rest: 1 s\n"
WHEN = "when: voltage >= 4 V"


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ("  - rest: 1 min\n  - goto: nowhere", "no label 'nowhere'"),
        ("  - {label: here, rest: 1 min}\n  - goto: her", "did you mean 'here'?"),
        ("  - {label: a, rest: 1 min}\n  - goto: a", "goes back, maybe for ever"),
        ("  - {label: a, rest: 1 min}\n  - {label: a, rest: 1 min}", "'a' is given twice"),
        (
            "  - rest: 1 min\n  - goto: in\n  - repeat: 2\n    steps: [{label: in, rest: 1 s}]",
            "no label 'in' here: it is within a loop",
        ),
        ("  - rest: 1 min\n  - end: repeat", "there is no `repeat` around this"),
        ("  - rest: 1 min\n  - end: cycle", "no `repeat` around this counts cycles"),
        ("  - rest: 1 min\n  - end: program", "'program'"),
        ("  - if: run.time >= 1 s\n    then: [{rest: 1 s}]", "begins with a step"),
        ("  - {rest: 1 s, disabled: true}", "no step that is done"),
        (f"{R}  - if: dV/dt <= 1 mV/h\n    then: [{{rest: 1 s}}]", "in one moment"),
        (f"{R}  - if: voltage >= 4 V for 3 s\n    then: [{{rest: 1 s}}]", "one moment"),
        (
            "  - repeat: 2\n    until: voltage >= 4 V after 3 s\n    steps: [{rest: 1 s}]",
            "one moment",
        ),
        (
            "  - rest: 1 s\n  - if: last.charge <= 1 Ah\n    then: [{rest: 1 s}]",
            "saves 'last'",
        ),
        (f"  - {{rest: 1 s, until: [{{{WHEN}}}]}}", "where does it go on?"),
        (f"  - {{rest: 1 s, until: [{{{WHEN}, goto: a, end: run}}]}}", "where does it go"),
        ("  - {rest: 1 s, until: [{goto: a}]}", "'when' is missing"),
        (
            "  - {rest: 1 s, until: [{when: voltage >= 4 V, goto: a, time: 3}]}",
            "did you mean 'time",
        ),
        (
            "  - {rest: 1 s, until: [{when: voltage >= 4 V, end: run, times: 3}]}",
            "belongs to a goto",
        ),
        (f"  - {{rest: 1 s, until: [{{{WHEN}, goto: a, times: 0}}]}}", "1 to 1000"),
        ("  - {rest: 1 s, label: 3x}", "'3x' is not a plain word"),
        (
            "  - repeat: 100000\n    steps:\n      - repeat: 100\n        steps: [{rest: 1 s}]",
            "passes",
        ),
    ],
)
def test_a_way_that_leads_nowhere_is_refused(steps: str, said: str) -> None:
    with pytest.raises(InputError, match=re.escape(said)) as refused:
        compiled(steps)
    assert refused.value.place


def test_a_loop_of_nothing_but_branches_does_not_hold_up_the_bench() -> None:
    program = compiled(
        "  - rest: 1 s\n  - repeat: 100000\n    steps:\n"
        "      - if: run.time >= 1 h\n        then: [{rest: 1 s}]\n  - rest: 2 s"
    )
    player = Player(program)
    player.run(most_s=1.0)
    assert player.engine.phase == "waiting"
    assert player.setpoint is None
    player.run()
    assert player.finished
    assert player.finished.outcome == "completed"


def everything() -> Player:
    return Player(
        compiled(
            f"""\
  - {FULL}
  - {{discharge: 2C, until: voltage <= 3.1 V, at_most: 2 h, save: initial, soc: 0 %}}
  - label: again
    rest: 20 min
    until: dV/dt <= 1 mV/h over 2 min after 5 min
  - repeat: 3
    until: cycle.discharge <= 10 % of initial
    steps:
      - {{charge: 2C, until: ['soc >= 50 % for 1 min', temperature >= 90 degC], at_most: 3 h}}
      - {{ramp: {{discharge: 2C, from: C/2, over: 2 min}}, at_most: 1 h}}
      - discharge: 2C
        until:
          - {{when: 'cycle.discharge >= 90 % of previous cycle', end: cycle}}
          - voltage <= 3.2 V
          - -dV >= 200 mV after 1 min
        at_most: 2 h
  - if: run.time >= 1 min
    then:
      - {{goto: again, times: 1}}
"""
        ),
        dt_s=5.0,
    )


def test_a_snapshot_taken_anywhere_goes_on_exactly() -> None:
    whole, broken = everything().run(), everything()
    while broken.finished is None:
        broken.run(most_s=35.0)
        snapshot = json.loads(json.dumps(broken.engine.snapshot()))
        broken.engine = Engine.restore(broken.program, snapshot)
    assert broken.ended == whole.ended
    assert broken.asked == whole.asked
    assert broken.time_s == whole.time_s
    assert whole.finished
    assert whole.finished.reason.startswith("went back to 'again'")
