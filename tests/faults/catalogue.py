"""The named faults: what is injected, and what must come of it. One id, at least one test.

A test says which faults it is about with `@pytest.mark.fault("F05", family="palmsens")`, and what
it measured with the `figure` fixture. `make faults` runs them all and writes docs/faults.md.

SAFE means: OFF in the simulated bench's own ledger, which the daemon cannot touch; the trip
latched; nothing lost that was journalled.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """One named fault.

    Attributes:
        wire: it concerns the wire, so at least two driver families must show it.
    """

    id: str
    injected: str
    required: str
    wire: bool = False


GROUPS: dict[str, tuple[Fault, ...]] = {
    "Instrument link": (
        Fault("F01", "cable pulled in the middle of a step", "SAFE within 5 s; where the instrument cannot be reached its own watchdog opens the output", True),
        Fault("F02", "half-open TCP connection: the peer swallows everything", "noticed within 3 polls, no system time-out waited for", True),
        Fault("F03", "connection reset by the peer", "link dropped at once, step not continued blindly", True),
        Fault("F04", "reply at one byte a second", "ends at the transport's deadline, not with the reply", True),
        Fault("F05", "garbage bytes on the line", "never a value; link dropped and identified anew", True),
        Fault("F06", "truncated reply", "never a value", True),
        Fault("F07", "reply with a wrong checksum", "never a value", True),
        Fault("F08", "reply sent twice", "the second copy never answers the next question", True),
        Fault("F09", "late reply to the question before", "never recorded as the new value", True),
        Fault("F10", "reply of another unit on the same line", "never a value of this unit", True),
        Fault("F11", "NaN, 9.9E37, empty reply, decimal comma", "invalid sample: counts to P1, never compared as a number", True),
        Fault("F12", "a reading that is stuck", "P2 trips while another quantity of the cell moves", True),
        Fault("F13", "frozen value under fresh time stamps", "P2 trips although samples keep arriving", True),
        Fault("F14", "setpoint acknowledged and not applied", "C2 before anything is energised", True),
        Fault("F15", "OFF acknowledged and ignored", "owed, repeated, escalated within 2 s", True),
        Fault("F16", "instrument reboots in the middle of a step", "limits and identity written and read back anew before it may energise", True),
        Fault("F17", "somebody changes it at the front panel", "C2", True),
        Fault("F18", "a second controller on the same instrument", "a second daemon is refused; a foreign setpoint is noticed", True),
        Fault("F19", "the instrument's own watchdog has fired", "state read back, the step not taken for running", True),
        Fault("F20", "clearing a protection would restore the output", "OFF and verified before the clear, OFF after it", True),
        Fault("F21", "range or unit mixed up (mA for A)", "refused at read-back", True),
        Fault("F22", "another instrument answers after a reconnect", "refused; nothing energised", True),
        Fault("F23", "64 instruments time out together", "the others keep their grid and their reaction"),
    ),
    "Cell and sensor": (
        Fault("F24", "cell voltage ramps past its limit", "SAFE, charge past the limit at most 0.1 % of nominal"),
        Fault("F25", "contact lost while charging", "I2; SAFE"),
        Fault("F26", "short circuit of the cell", "SAFE by the guard or the instrument"),
        Fault("F27", "thermocouple open", "no valid temperature is P1; SAFE"),
        Fault("F28", "thermocouple fallen off: reads ambient", "P4; SAFE"),
        Fault("F29", "temperature runs away", "T3 before T1; SAFE"),
        Fault("F30", "a step ends after three seconds", "the next step is not energised before an operator has looked"),
        Fault("F31", "the cell takes more charge than it can hold", "Q1; SAFE"),
        Fault("F32", "sense leads swapped", "refused before energising, or SAFE"),
        Fault("F33", "chamber over-temperature, door, emergency stop", "K1; every station of the group SAFE"),
        Fault("F34", "noise at the limits of the data sheet, bursts included", "no trip"),
    ),
    "Time": (
        Fault("F35", "wall clock set an hour forward or back", "steps, counters and staleness unmoved; the jump is an alarm"),
        Fault("F36", "daylight saving begins or ends", "nothing moves"),
        Fault("F37", "leap second, the year 2038", "nothing moves"),
        Fault("F38", "computer suspended and woken", "silence is P1; nothing goes on as if nothing had been"),
        Fault("F39", "wall clock goes back across a restart", "order is by sequence number"),
    ),
    "Process": (
        Fault("F40", "SIGTERM in the middle of a step", "paused, OFF verified, gone within 5 s"),
        Fault("F41", "SIGKILL at random and at every write of the journal", "OFF by the sentinel; no journalled sample lost; counters bit-equal"),
        Fault("F42", "SIGSTOP for 10 s", "the sentinel takes over"),
        Fault("F43", "a blocking driver stalls a loop for 0.3, 1, 10 s", "named with its frame; safety unmoved, or the sentinel"),
        Fault("F44", "a bus thread dies", "the sentinel, or X1; SAFE"),
        Fault("F45", "an exception nobody expected in any task", "the group SAFE"),
        Fault("F46", "no more memory, at the n-th allocation", "SAFE"),
        Fault("F47", "no more file descriptors", "what runs goes on or is SAFE; told"),
        Fault("F48", "the sentinel dies", "alarm, nothing new energised, sentinel started again"),
        Fault("F49", "control and sentinel both die", "the instrument's watchdog opens the output"),
        Fault("F50", "a second daemon on the same data folder", "it exits with 1 and touches no file and no port"),
        Fault("F51", "the daemon crashes again and again", "it stays down after 2 crashes in 60 s, every output OFF"),
        Fault("F52", "power cut", "what was committed is there after every replay of dropped pages"),
        Fault("F53", "state of another version of this program", "migrated or refused, never guessed"),
    ),
    "Disk": (
        Fault("F54", "disk full at every write", "pause, alarm, nothing corrupt, goes on when there is room"),
        Fault("F55", "file system remounted read-only", "pause, alarm, nothing corrupt"),
        Fault("F56", "EIO on write and fsync, once and for good", "pause, alarm, nothing corrupt, nothing acknowledged that is not there"),
        Fault("F57", "fsync takes 10 s", "reaction from sample to OFF unchanged"),
        Fault("F58", "a flipped bit in a closed file", "found by its hash"),
        Fault("F59", "a torn or hanging live file", "the child is ended and the file made anew from the journal"),
        Fault("F60", "a user opens the live file for writing", "live file made anew; closed files are read-only"),
    ),
    "Broker": (
        Fault("F61", "broker down at the start", "runs go on; everything published when it comes"),
        Fault("F62", "broker comes and goes every 2 s for 10 min", "nothing lost, order kept, memory flat"),
        Fault("F63", "broker accepts and says nothing", "noticed, given up, tried again; runs unmoved"),
        Fault("F64", "broker comes back with no memory", "retained state published anew"),
        Fault("F65", "broker refuses the login, or its certificate has expired", "said plainly; tried again slowly; runs unmoved"),
        Fault("F66", "another client takes over our id again and again", "growing pauses, and an alarm"),
        Fault("F67", "broker away for a week of 64 stations at 1 Hz", "nothing lost, control's memory flat, live within 10 s"),
        Fault("F68", "messages duplicated and reordered", "commands carried out once; sequence numbers tell"),
    ),
    "Input": (
        Fault("F69", "wrong YAML, unknown keys, wrong types", "refused with file, line and remedy"),
        Fault("F70", "alias bomb, depth bomb, 100 MB of YAML", "refused in time and memory that do not grow"),
        Fault("F71", "`1e3`, `010`, a duplicate key, NaN as a limit", "number as YAML 1.2 says, or refused with the line"),
        Fault("F72", "protocol edited while it runs", "the running copy is untouched"),
        Fault("F73", "names with `..`, slashes, symlinks", "refused; nothing outside its folder"),
        Fault("F74", "10,000 commands a second", "bounded; reaction unchanged; STOP within 100 ms"),
        Fault("F75", "malformed or deep JSON, 1e999", "refused; the next command is served"),
        Fault("F76", "command unsigned, expired, replayed, retained, of the wrong role", "refused and in the audit log"),
        Fault("F77", "a command races a trip", "the trip wins"),
        Fault("F78", "clear and start in one burst", "the start is refused"),
        Fault("F79", "huge topics and payloads", "refused; nothing grows"),
        Fault("F80", "the audit log is tampered with", "`daq audit verify` fails and names the line"),
    ),
}  # fmt: skip

FAULTS: dict[str, Fault] = {fault.id: fault for group in GROUPS.values() for fault in group}

UNTESTABLE: dict[str, str] = {}
"""Id -> why it cannot be tested here. Those are listed, too."""
