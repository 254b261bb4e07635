"""The lab file: what it becomes, and how each mistake in it is answered."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from daq.config import Lab
from daq.errors import InputError
from daq.labchecks import unfit_for_fast_clock
from daq.labreader import load_lab
from daq.model import EVERYWHERE, ChannelRef, Limits
from tests.unit.marked import refusal

LIMITS = "limits: {voltage: [2 V, 4.3 V], current: [-5 A, 5 A], temperature: [0 degC, 60 degC]}"
DRIVERS = "tests.unit.lab_drivers"
LAB = f"""\
lab: bench-3
instruments:
  aps1: {{driver: "{DRIVERS}:ACycler", resource: "TCPIP::127.0.0.1::5025::SOCKET"}}
  pico: {{driver: "{DRIVERS}:APotentiostat", resource: "TCPIP::127.0.0.1::5026::SOCKET"}}
  mk53: {{driver: "{DRIVERS}:AChamber", resource: "modbus+rtu+tcp://127.0.0.1:10001"}}
stations:
  A1:
    cycler: aps1
    eis: pico.2
    chamber: mk53
    {LIMITS}
"""


@pytest.fixture
def load(tmp_path: Path) -> Any:
    def load_text(text: str) -> Lab:
        file = tmp_path / "lab.yaml"
        file.write_text(text, encoding="utf-8")
        return load_lab(file)

    return load_text


def edit(old: str, new: str, text: str = LAB) -> str:
    assert old in text
    return text.replace(old, new, 1)


# What it becomes.


def test_a_small_lab_gets_the_documented_defaults(load: Any, tmp_path: Path) -> None:
    lab = load(LAB)
    assert (lab.name, lab.clock_factor, lab.visa_backend) == ("bench-3", 1.0, "@py")
    assert lab.data == tmp_path / "data"
    assert (lab.mqtt.broker, lab.mqtt.client_id) == ("auto", "daq-bench-3")
    station = lab.stations["A1"]
    assert (station.reaction_s, station.watchdog_s, station.idle_record_s) == (1.0, 4.0, 10.0)
    assert station.limits == Limits((2.0, 4.3), (-5.0, 5.0), (0.0, 60.0))
    assert station.temperature is None
    assert lab.instruments["aps1"].period_s == 1.0


def test_channels_are_written_with_a_dot_and_are_1_without_one(load: Any) -> None:
    station = load(LAB).stations["A1"]
    assert station.cycler == ChannelRef("aps1", 1)
    assert station.eis == ChannelRef("pico", 2)
    assert station.channels == (station.cycler, station.eis, station.chamber)


def test_the_line_has_the_driver_s_settings_where_the_file_is_silent(load: Any) -> None:
    settings = load(LAB).instruments["aps1"].settings
    assert (settings.timeout_s, settings.baud, settings.unit) == (0.2, 115200, 1)
    text = edit('SOCKET"}', 'SOCKET", timeout: 100 ms, baud: 9600, unit: 7}')
    settings = load(text).instruments["aps1"].settings
    assert (settings.timeout_s, settings.baud, settings.unit) == (0.1, 9600, 7)


def test_the_driver_s_own_options_are_made_by_its_own_model(load: Any) -> None:
    lab = load(edit(':10001"}', ':10001", options: {speed: 3}}'))
    assert lab.instruments["mk53"].options.model_dump() == {"speed": 3}


def test_instruments_of_one_gateway_share_a_bus(load: Any) -> None:
    second = (
        f'  mk54: {{driver: "{DRIVERS}:AChamber", unit: 2, '
        'resource: "modbus+rtu+tcp://127.0.0.1:10001"}\nstations:'
    )
    lab = load(edit("stations:", second))
    grouped = [tuple(one.name for one in bus) for bus in lab.buses().values()]
    assert sorted(grouped) == [("aps1",), ("mk53", "mk54"), ("pico",)]


def test_calibration_travels_in_si(load: Any) -> None:
    more = (
        'SOCKET", calibrated: 2025-02-11, calibration_due: 2026-02-11, '
        "channel_offsets: {1: {voltage: 0.4 mV, temperature: 0.1 K}}}"
    )
    instrument = load(edit('SOCKET"}', more)).instruments["aps1"]
    assert instrument.calibrated == date(2025, 2, 11)
    assert instrument.calibration_due == date(2026, 2, 11)
    assert instrument.channel_offsets == {1: {"voltage_V": 0.0004, "temperature_K": 0.1}}


CELLS = """\
cells:
  C-1:
    nominal_capacity: 2500 mAh
    chemistry: NMC/graphite
    batch: B7
    limits: {voltage: [2.5 V, 4.2 V]}
    positive:
      active_mass: 18.2 mg
      coat_weight: 12.3 mg/cm^2
      drying: {temperature: 120 degC, time: 12 h}
    metadata: {dew_point_degC: -52}
"""


def check_cell(lab: Lab) -> None:
    cell = lab.cell("C-1")
    assert (cell.nominal_capacity_Ah, cell.batch, cell.chemistry) == (2.5, "B7", "NMC/graphite")
    assert cell.limits == Limits(voltage_V=(2.5, 4.2))
    assert cell.limits.current_A == EVERYWHERE
    assert cell.metadata["dew_point_degC"] == -52
    assert cell.metadata["positive"] == {
        "active_mass_g": 0.0182,
        "coat_weight_mg_cm2": 12.3,
        "drying": {"temperature_degC": 120.0, "time_s": 43200.0},
    }


def test_a_cell_keeps_all_that_is_known_about_it_with_units_in_the_names(load: Any) -> None:
    check_cell(load(LAB + CELLS))


def test_cells_may_live_in_a_file_of_their_own(load: Any, tmp_path: Path) -> None:
    (tmp_path / "cells.yaml").write_text(CELLS)
    check_cell(load(LAB + "cells: cells.yaml\n"))


def test_a_mistake_in_the_file_of_cells_is_shown_in_that_file(load: Any, tmp_path: Path) -> None:
    (tmp_path / "cells.yaml").write_text(edit("batch", "bacth", CELLS))
    with pytest.raises(InputError, match=r"cells\.yaml:5:5: unknown key 'bacth'.*'batch'"):
        load(LAB + "cells: cells.yaml\n")


def test_an_unknown_cell_is_answered_with_the_nearest_known_one(load: Any) -> None:
    with pytest.raises(InputError, match="knows no cell 'C-l'.*did you mean 'C-1'"):
        load(LAB + CELLS).cell("C-l")


@pytest.mark.parametrize(
    ("broker", "expected"),
    [
        ("none", ("none", "", 1883, False)),
        ("embedded", ("embedded", "", 1883, False)),
        ("mqtt://127.0.0.1:1884", ("url", "127.0.0.1", 1884, False)),
        ("mqtts://broker.example", ("url", "broker.example", 8883, True)),
    ],
)
def test_a_broker_is_a_word_or_a_url(load: Any, broker: str, expected: tuple[Any, ...]) -> None:
    login = "cert_file: a.pem, key_file: a.key"
    mqtt = load(LAB + f"mqtt: {{broker: '{broker}', {login}}}\n").mqtt
    assert (mqtt.broker, mqtt.host, mqtt.port, mqtt.tls) == expected


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "localhost"])
def test_a_loopback_broker_needs_neither_tls_nor_a_login(load: Any, host: str) -> None:
    lab = load(LAB + f"mqtt: {{broker: 'mqtt://{host}'}}\naccess: {{anonymous: operator}}\n")
    assert lab.mqtt.is_loopback
    assert lab.access.anonymous == "operator"


def test_where_nobody_may_do_anything_unsigned(load: Any, tmp_path: Path) -> None:
    access = load(LAB + "access: {anonymous: nobody, keys_file: ../keys.yaml}\n").access
    assert not access.anonymous
    assert access.keys == tmp_path.parent / "keys.yaml"


def test_secrets_are_files_beside_the_lab_file(load: Any, tmp_path: Path) -> None:
    mqtt = load(LAB + "mqtt: {username: daq, password_file: secrets/mqtt}\n").mqtt
    assert mqtt.password_file == tmp_path / "secrets" / "mqtt"


def test_a_lab_cannot_be_changed_once_it_is_loaded(load: Any) -> None:
    lab = load(LAB + CELLS)
    with pytest.raises(AttributeError):
        lab.clock_factor = 5000.0
    with pytest.raises(TypeError):
        lab.instruments["aps1"] = None


# Each mistake, where it stands. The mark shows the place.

MISTAKES = [
    ("lab: bench-3", "lab: §bench 3", "lab: 'bench 3' is not a name", "use up to 64 letters"),
    ("lab: bench-3", "lab: §3", "lab: 3 must be text: put it in quotes", ""),
    ("lab: bench-3", "lab: bench-3\n§dta: x", "unknown key 'dta'", "did you mean 'data'?"),
    ("lab: bench-3\n", "§", "the key 'lab' is missing", "add it, like `lab: bench-3`"),
    ("cycler: aps1", "§cylcer: aps1", "unknown key 'cylcer'", "did you mean 'cycler'?"),
    ("    cycler: aps1\n", "", "the key 'cycler' is missing", "add it"),
    (f"    {LIMITS}\n", "", "the key 'limits' is missing", "like `limits: {voltage: [2.0 V"),
    ("4.3 V", "§4.3 A", "'4.3 A' is a current; a voltage is expected", "4.2 V"),
    ("4.3 V", "§4.3", "4.3 has no unit: a voltage is expected", "4.2 V"),
    ("4.3 V", "§43 kV", "'kV' is not a unit that is known here", "4.2 V"),
    ("4.3 V", "§5000 V", "5000 V is out of range", "at most 2000 V"),
    ("[2 V, 4.3 V]", "§[4.3 V, 2 V]", "['4.3 V', '2 V'] is an empty span", "lower end first"),
    (
        "[2 V, 4.3 V]",
        "§[4.3 V]",
        "['4.3 V'] is not a span",
        "write it as [LOW, HIGH], each like '4.2 V'",
    ),
    ("eis: pico.2", "§eis:", "the key 'eis' has no value", "delete the line"),
    ("eis: pico.2", "eis: §pico.0", "eis: 'pico.0' is not a channel", "aps1 or aps1.2"),
    ("eis: pico.2", "eis: §pcio.2", "no instrument is called 'pcio'", "did you mean 'pico'?"),
    ("chamber: mk53", "chamber: §aps1", "is not a chamber", "whose driver is a chamber"),
    ("cycler: aps1", "cycler: §mk53", "is not a cycler", "whose driver is a cycler"),
    ("eis: pico.2", "eis: §aps1", "is not a potentiostat", ""),
    ("ACycler", "ACyclr", "cannot be loaded", ""),
    ("modbus+rtu+tcp://127.0.0.1:10001", "modbus+rtu+tcp://127.0.0.1", "is not a resource", ""),
    ('10001"}', '10001", options: {§sped: 1}}', "unknown key 'sped'", "did you mean 'speed'?"),
    ('10001"}', '10001", options: {speed: §12}}', "speed: 12 should be less than", ""),
    ('10001"}', '10001", unit: §1000}', "unit: 1000 should be less than", ""),
    ('10001"}', '10001", timeout: §30 s}', "30 s is out of range", "at most 1 s"),
    ('10001"}', '10001", calibrated: §11.2.2025}', "'11.2.2025' is not a date", "2025-03-31"),
    (
        '10001"}',
        '10001", calibrated: 2025-02-11, calibration_due: §2024-02-11}',
        "due on 2024-02-11, before the calibration of 2025-02-11",
        "",
    ),
    (
        "stations:",
        "mqtt: {broker: §'mqtt://me:secret@host'}\nstations:",
        "is not a broker",
        "mqtts://",
    ),
    (
        "stations:",
        "mqtt: {broker: §'mqtt://10.0.0.2'}\nstations:",
        "the broker at 10.0.0.2 is on the network",
        "mqtts://10.0.0.2:8883",
    ),
    (
        "stations:",
        "mqtt: {broker: §'mqtts://10.0.0.2', ca_file: ca.pem}\nstations:",
        "would not know who we are",
        "cert_file and key_file, or username and password_file",
    ),
    (
        "stations:",
        "mqtt: {broker: 'mqtts://10.0.0.2', cert_file: a.pem, key_file: a.key}\n"
        "access: {anonymous: §operator}\nstations:",
        "nobody unknown may operate over the network",
        "daq key add",
    ),
    ("stations:", "mqtt: {username: §daq}\nstations:", "username without password_file", "add"),
    ("stations:", "mqtt: {key_file: §a.key}\nstations:", "key_file without cert_file", "add"),
    ("stations:", "access: {anonymous: §admin}\nstations:", "anonymous: 'admin'", ""),
    ("stations:", "mqtt: {§password: x}\nstations:", "unknown key 'password'", "password_file"),
    ("stations:", "clock: {factor: §0.5}\nstations:", "factor: 0.5 should be greater", ""),
    ("stations:", "clock: {factor: §.inf}\nstations:", ".inf is not a finite number", ""),
    ("stations:", "clock: {factor: §true}\nstations:", "factor: True must be a number", ""),
    (LIMITS, f"{LIMITS}\n    watchdog: §2 s", "would fire between two reads", "two periods"),
    (LIMITS, f"{LIMITS}\n    reaction: §0 s", "0 s is out of range", "more than 0 s"),
    ("lab: bench-3", "lab: bench-3\n§lab: other", "'lab' is given twice", "keep one"),
    ("lab: bench-3", "lab: bench-3\n§\tdata: x", "there is a tab", "use spaces"),
    ("cycler: aps1", "cycler: §*aps", "aliases (*aps) are not allowed", "write it out"),
]


@pytest.mark.fault("F69")
@pytest.mark.parametrize(("old", "new", "said", "remedy"), MISTAKES)
def test_a_mistake_is_one_error_with_its_place_and_a_remedy(
    load: Any, old: str, new: str, said: str, remedy: str
) -> None:
    marked = edit(old, new)
    if "§" not in marked:  # what is missing or broken as a whole is shown where it belongs
        marked = edit(*PLACES[new or old], marked)
    error = refusal(load, marked)
    assert said in error.message
    assert remedy in error.remedy


PLACES = {
    "    cycler: aps1\n": ("  A1:", "  §A1:"),
    f"    {LIMITS}\n": ("  A1:", "  §A1:"),
    "ACyclr": (f'"{DRIVERS}:ACyclr"', f'§"{DRIVERS}:ACyclr"'),
    "modbus+rtu+tcp://127.0.0.1": ('"modbus+rtu', '§"modbus+rtu'),
}


def test_of_several_mistakes_the_first_in_the_file_is_shown(load: Any) -> None:
    text = edit("4.3 V", "4.3 A", edit("lab: bench-3", "lab: bench-3\ndta: x"))
    with pytest.raises(InputError, match=r"lab\.yaml:2:1: unknown key 'dta'"):
        load(text)


def test_a_fast_clock_is_refused_where_an_instrument_is_elsewhere(load: Any) -> None:
    far = edit('"modbus+rtu+tcp://127.0.0.1', '§"modbus+rtu+tcp://10.0.0.30')
    error = refusal(load, far + "clock: {factor: 20}\n")
    assert "mk53 is elsewhere, or real" in error.message
    assert "remove clock.factor" in error.remedy


def test_a_fast_clock_is_allowed_where_every_instrument_is_here(load: Any) -> None:
    assert load(LAB + "clock: {factor: 20}\n").clock_factor == 20.0


PICO = '"TCPIP::127.0.0.1::5026::SOCKET"'


@pytest.fixture
def terminal() -> Iterator[str]:
    master, slave = os.openpty()
    yield os.ttyname(slave)
    os.close(master)
    os.close(slave)


def test_a_device_path_is_relative_to_the_lab_file(
    load: Any, tmp_path: Path, terminal: str
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "pico.pty").symlink_to(terminal)
    for resource in ('"ASRL./out/pico.pty::INSTR"', '"serial://./out/pico.pty"'):
        lab = load(edit(PICO, resource) + "clock: {factor: 20}\n")
        assert lab.instruments["pico"].resource.device == str(tmp_path / "out" / "pico.pty")


def test_a_port_that_does_not_exist_yet_is_judged_before_it_is_opened(load: Any) -> None:
    lab = load(edit(PICO, '"serial://./pico.pty"') + "clock: {factor: 20}\n")
    assert unfit_for_fast_clock(lab) == ["pico"]


SECOND = f"""\
  A2:
    cycler: aps1
    {LIMITS}
"""


def test_a_cycler_channel_belongs_to_one_station(load: Any) -> None:
    error = refusal(load, LAB + edit("aps1", "§aps1", SECOND))
    assert error.message == "channel aps1.1 already belongs to station A1"


def test_a_station_cannot_take_a_topic_of_the_lab_itself(load: Any) -> None:
    error = refusal(load, edit("A1:", "§cmd:"))
    assert "'cmd'" in error.message


def test_two_instruments_cannot_have_one_address(load: Any) -> None:
    error = refusal(load, edit(PICO, '§"TCPIP::127.0.0.1::5025::SOCKET"'))
    assert error.message == "pico has the same address as aps1"


def test_instruments_of_one_bus_are_read_together(load: Any) -> None:
    second = (
        f'  mk54: {{driver: "{DRIVERS}:AChamber", unit: 2, period: §2 s, '
        'resource: "modbus+rtu+tcp://127.0.0.1:10001"}\nstations:'
    )
    error = refusal(load, edit("stations:", second))
    assert "mk54 is read every 2 s, mk53 on the same bus every 1 s" in error.message


@pytest.mark.parametrize(("timeout", "fits"), [("470 ms", True), ("480 ms", False)])
def test_the_timeout_must_leave_room_for_off_within_the_reaction_time(
    load: Any, timeout: str, fits: bool
) -> None:
    text = edit('5025::SOCKET"}', f'5025::SOCKET", timeout: {timeout}}}')
    if fits:
        assert load(text)
        return
    error = refusal(load, edit("  A1:", "  §A1:", text))
    assert "may leave 1.01 s after a sample, its reaction time is 1 s" in error.message


def test_a_slow_neighbour_on_the_cycler_s_bus_counts_towards_its_reaction(load: Any) -> None:
    neighbour = (
        f'  slow: {{driver: "{DRIVERS}:ALogger", timeout: 900 ms, unit: 2, '
        'resource: "TCPIP::127.0.0.1::5025::SOCKET"}\nstations:'
    )
    error = refusal(load, edit("  A1:", "  §A1:", edit("stations:", neighbour)))
    assert "may leave 1.15 s after a sample" in error.message


SLOW = edit("ACycler", "ASlowCycler")


def test_the_pauses_between_messages_count_towards_the_reaction(load: Any) -> None:
    """Two of a read in flight and two of the OFF, 50 ms before each."""
    text = edit('5025::SOCKET"}', '5025::SOCKET", timeout: 380 ms}', SLOW)
    error = refusal(load, edit("  A1:", "  §A1:", text))
    assert "may leave 1.01 s after a sample" in error.message


def test_a_look_at_the_counters_counts_towards_the_reaction_if_it_takes_longer(load: Any) -> None:
    """Three of its counters in flight and two of the OFF, 50 ms before each; a read is shorter."""
    text = edit('5025::SOCKET"}', '5025::SOCKET", timeout: 380 ms}', edit("ACycler", "ACounter"))
    error = refusal(load, edit("  A1:", "  §A1:", text))
    assert "may leave 1.06 s after a sample" in error.message


@pytest.mark.parametrize(("period", "fits"), [("100 ms", True), ("90 ms", False)])
def test_an_instrument_is_not_read_faster_than_its_pauses_allow(
    load: Any, period: str, fits: bool
) -> None:
    text = edit('5025::SOCKET"}', f'5025::SOCKET", period: §{period}}}', SLOW)
    if fits:
        assert load(text.replace("§", "")).instruments["aps1"].period_s == 0.1
        return
    error = refusal(load, text)
    assert "aps1 cannot be read every 0.09 s" in error.message
    assert error.remedy == "a period of at least 0.1 s"


def test_any_instrument_may_read_the_temperature(load: Any) -> None:
    text = edit("chamber: mk53", "chamber: mk53\n    temperature: pico.3")
    assert load(text).stations["A1"].temperature == ChannelRef("pico", 3)


# Sensors and outputs.

WIRED = edit(
    "stations:",
    f'  io: {{driver: "{DRIVERS}:ASwitch", resource: "modbus+tcp://127.0.0.1:502"}}\n'
    f'  log: {{driver: "{DRIVERS}:ALogger", resource: "TCPIP::127.0.0.1::5027::SOCKET"}}\n'
    "stations:",
)


def wired(text: str) -> str:
    return edit("    cycler: aps1\n", f"    cycler: aps1\n    {text}\n", WIRED)


def test_sensors_and_outputs_are_named_channels(load: Any) -> None:
    text = wired(
        "sensors: {top: log.103}\n    outputs: {stirrer: io.3, fan: {channel: io.4, safe: on}}"
    )
    lab = load(text)
    station = lab.stations["A1"]
    assert station.sensors == {"top": ChannelRef("log", 103)}
    assert {name: one.safe_on for name, one in station.outputs.items()} == {
        "stirrer": False,
        "fan": True,
    }
    assert lab.outputs_of("io") == {3: False, 4: True}
    assert lab.safe_states("io") == {3: False, 4: True}
    assert lab.safe_states("aps1") == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sensors: {top: lag.103}", "no instrument is called 'lag'"),
        ("sensors: {top-side: log.103}", "a plain word"),
        ("outputs: {stirrer: oi.3}", "no instrument is called 'oi'"),
        ("outputs: {stirrer: log.3}", "is not a switch"),
        ("outputs: {stirrer: {channel: log.3}}", "is not a switch"),
        ("outputs: {stirrer: {channel: io.3, safe: maybe}}", "on"),
        ("outputs: {stirrer: io.3, lamp: io.3}", "io.3 is output stirrer of A1 already"),
        ("relay: io.3\n    outputs: {stirrer: io.3}", "io.3 is relay of A1 already"),
    ],
)
def test_sensors_and_outputs_that_cannot_be_are_refused(load: Any, text: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as refused:
        load(wired(text))
    assert refused.value.place is not None


def test_a_relay_may_sit_on_the_module_of_the_outputs(load: Any) -> None:
    lab = load(wired("relay: io.1\n    outputs: {stirrer: io.3}"))
    assert lab.stations["A1"].relay == ChannelRef("io", 1)
    assert lab.outputs_of("io") == {3: False}  # what the daemon switches
    assert lab.safe_states("io") == {1: False, 3: False}  # what is made safe where it is gone
