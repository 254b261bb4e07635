"""What the sources of the protocol library say, step by step, in their own numbers.

Written from the sources, not from the files in `protocols/`. One line a step: kind, current of
charge (+) and discharge (-) in A, the voltage that is held, and what ends it or how long it lasts.
The cell has 1 Ah, so that a C-rate is a number of ampere, unless `NOMINAL_AH` says otherwise.
Numbers have three digits, as the sources' own 0.333 and 0.0286.
"""

NOMINAL_AH = {"formation-pouch-cell": 0.2, "fast-charge-severson": 1.1}

COIN_CELL = """
rest 3600 s
charge +0.1 until time >= 600 | voltage >= 2
rest 43200 s
repeat 3 cycles
  charge +0.1 until voltage >= 4.9 | time >= 54000
  hold 4.9 V until current <= 0.05 | time >= 21600
  discharge -0.1 until voltage <= 3.5 | time >= 54000
repeat 20
  repeat 24 cycles
    charge +0.5 until voltage >= 4.9 | time >= 10800
    hold 4.9 V until current <= 0.05 | time >= 3600
    discharge -0.5 until voltage <= 3.5 | time >= 10800
  repeat 1 cycles
    charge +0.1 until voltage >= 4.9 | time >= 54000
    hold 4.9 V until current <= 0.01 | time >= 3600
    discharge -0.1 until voltage <= 3.5 | time >= 54000
"""

POUCH_CELL = """
rest 3600 s
charge +0.1 until voltage >= 3.7
hold 3.7 V until time >= 3600
rest 1800 s
charge +0.2 until voltage >= 4
hold 4 V until time >= 1800
rest 1800 s
discharge -0.2 until voltage <= 3
repeat 2 cycles
  charge +0.5 until voltage >= 4.1
  discharge -0.5 until voltage <= 3.8
repeat 1 cycles
  charge +1 until voltage >= 4.2
  discharge -1 until voltage <= 3.5
  hold 3.5 V until time >= 300
"""

FORMATION = """
chamber 25 degC
rest 43200 s
repeat 2 cycles
  charge +0.1 until voltage >= 4.2
  hold 4.2 V until current <= 0.02
  rest 1800 s
  discharge -0.1 until voltage <= 2.5
  rest 1800 s
rest 3600 s
eis 10000 to 0.01 Hz, 6 a decade, 0.005 V
"""

FORMATION_LFP = """
chamber 25 degC
rest 43200 s
repeat 2 cycles
  cccv +0.1 3.65 V until current <= 0.02
  rest 1800 s
  discharge -0.1 until voltage <= 2.5
  rest 1800 s
rest 3600 s
eis 10000 to 0.01 Hz, 6 a decade, 0.005 V
"""

STANDARD_CYCLE = """
chamber 25 degC
cccv -1 2.5 V until current <= 0.04
rest 1800 s
cccv +1 4.2 V until current <= 0.04
rest 1800 s
cccv -1 2.5 V until current <= 0.04
"""

SCREENING = """
repeat 1000 cycles until cycle.discharge <= 80 % of cycle 1
  cccv +1 4.2 V until current <= 0.05
  rest 1800 s
  discharge -1 until voltage <= 2.5
"""

PSEUDO_OCV = """
chamber 25 degC
cccv +0.333 4.2 V until current <= 0.04
rest 3600 s
discharge -0.04 until voltage <= 2.5
rest 3600 s
charge +0.04 until voltage >= 4.2
rest 3600 s
"""

GITT = """
cccv +0.333 4.2 V until current <= 0.02
rest 7200 s
repeat 20
  pulse -0.05 until voltage <= 2.5 -> repeat | time >= 3600
  rest 3600 s
"""

MILLIVOLT_PER_HOUR = "2.78e-07"  # V/s
STANDS_STILL = f"until dV/dt <= {MILLIVOLT_PER_HOUR} | time >= 43200"
GITT_RELAXED = f"""
cccv +0.333 4.2 V until current <= 0.02
rest {STANDS_STILL}
repeat 21
  pulse -0.1 until voltage <= 2.5 -> repeat | time >= 1800
  rest {STANDS_STILL}
"""

HPPC_EV = """
cccv +0.333 4.2 V until current <= 0.05
repeat 20
  rest 3600 s
  pulse -1 until voltage <= 2.7 -> repeat | time >= 30
  rest 40 s
  pulse +0.75 until voltage >= 4.39 | time >= 10
  discharge -0.333 until voltage <= 2.7 -> repeat | time >= 1080
cccv -0.333 2.7 V until current <= 0.05
"""


def indented(text: str) -> str:
    """The lines of an outline, one loop deeper."""
    return "\n".join(f"  {line}" for line in text.strip().splitlines())


def hppc_hev(out_A: float, back_A: float) -> str:
    """From full to empty with one pulse current."""
    return f"""
repeat 1 cycles
  cccv +0.333 4.2 V until current <= 0.05
  rest 3600 s
  repeat 9
    discharge -0.333 until voltage <= 2.5 -> repeat | charge >= 0.1
    rest 3600 s
    pulse -{out_A:g} until voltage <= 2.5 -> repeat | time >= 10
    rest 40 s
    pulse +{back_A:g} until voltage >= 4.2 | time >= 10
  discharge -0.333 until voltage <= 2.5
  rest 3600 s
"""


def pulse_pair(current_A: float) -> str:
    """18 s out, 60 s, 18 s in, 60 s."""
    return f"""
  pulse -{current_A:g} until voltage <= 2.5 | time >= 18
  rest 60 s
  pulse +{current_A:g} until voltage >= 4.2 | time >= 18
  rest 60 s"""


HPPC_HANDBOOK = f"""
cccv +0.333 4.2 V until current <= 0.04
rest 3600 s
repeat 9
  discharge -0.333 until voltage <= 2.5 -> repeat | charge >= 0.1
  rest 3600 s{pulse_pair(0.2)}{pulse_pair(1)}{pulse_pair(5)}
discharge -0.333 until voltage <= 2.5
"""


def iso_12405(soc_pct: int) -> str:
    """The pulses at one state of charge; Imax is 3 A, three quarters of it 2.25 A."""
    return f"""
discharge -0.333 until soc <= {soc_pct / 100:g} | voltage <= 2.5
rest 1800 s
cccv -3 2.5 V until time >= 18
cccv -2.25 2.5 V until time >= 102
rest 40 s
cccv +2.25 4.2 V until time >= 20
rest 40 s"""


ISO_12405 = f"""
cccv +0.333 4.2 V until current <= 0.05
rest 1800 s{"".join(iso_12405(soc_pct) for soc_pct in (90, 70, 50, 35, 20))}
cccv +0.333 4.2 V until current <= 0.05
"""


def rates(temperature_degC: int) -> str:
    """Four discharges at one temperature."""
    discharges = (
        f"""
repeat 1 cycles
  cccv +0.2 4.2 V until current <= 0.04
  rest 3600 s
  discharge -{rate:g} until voltage <= 2.5
  rest 3600 s"""
        for rate in (0.2, 0.5, 1, 2)
    )
    return f"chamber {temperature_degC} degC" + "".join(discharges) + "\n"


EIS_BY_SOC = """
chamber 25 degC
cccv +0.333 4.2 V until current <= 0.04
rest 3600 s
eis 10000 to 0.01 Hz, 6 a decade, 0.005 V
repeat 5
  discharge -0.333 until charge >= 0.2 | voltage <= 2.5
  rest 3600 s
  eis 10000 to 0.01 Hz, 6 a decade, 0.005 V
"""

IEC_61960 = """
chamber 20 degC
discharge -0.2 until voltage <= 2.5
rest 1800 s
cccv +0.5 4.2 V until current <= 0.05
rest 3600 s
discharge -0.2 until voltage <= 2.5
"""


def iec_62660(temperature_degC: int) -> str:
    """A charge at 25 degC, a discharge at another temperature."""
    return f"""
repeat 1 cycles
  chamber 25 degC
  cccv +0.333 4.2 V until current <= 0.05
  chamber {temperature_degC} degC
  rest until dT/dt <= 0.000278 | time >= 43200
  discharge -0.333 until voltage <= 2.5"""


CALENDAR = f"""
repeat 1 cycles
{indented(STANDARD_CYCLE)}
repeat 20 cycles until last.charge <= 80 % of initial
  rest 1800 s
  cccv +1 4.2 V until current <= 0.04
  rest 1800 s
  discharge -1 until charge >= 0.5
  chamber 45 degC
  rest {6 * 7 * 86400} s
  chamber 25 degC
  rest 18000 s
  discharge -1 until voltage <= 2.5
{indented(STANDARD_CYCLE)}
"""

RESET = """
repeat 1 cycles
  cccv +0.143 4.2 V until current <= 0.0286
  discharge -0.143 until voltage <= 2.7
"""


def rate_test(rate: float) -> str:
    """A charge at C/5, and a discharge."""
    return f"""
repeat 1 cycles
  cccv +0.2 4.2 V until current <= 0.05
  discharge -{rate:g} until voltage <= 2.7"""


RPT = f"""{RESET.rstrip()}
repeat 1 cycles
{indented(HPPC_EV)}{"".join(rate_test(rate) for rate in (0.2, 1.0, 2.0))}
"""


def regular(cycles: int) -> str:
    """The cycles of the template."""
    return f"""repeat {cycles} cycles
  charge +1 until time >= 1080 | voltage >= 4.1
  charge +1 until voltage >= 4.1
  hold 4.1 V until time >= 1800
  rest 300 s
  discharge -1 until voltage <= 2.7
  rest 900 s
"""


CYCLE_AGEING = f"""
rest 10800 s
pulse +1 until time >= 1
rest 60 s
{RESET.strip()}
{RPT.strip()}
{regular(30)}repeat 30
{indented(RPT)}
  if last.charge <= 80 % of initial
  end of the repeat
{indented(regular(100))}
{RESET.strip()}
{RPT.strip()}
repeat 1 cycles
  cccv -0.5 2.7 V until current <= 0.05
  charge +0.5 until time >= 720
"""

SEVERSON = """
chamber 30 degC
pulse +0.11 until time >= 1
pulse -0.11 until time >= 1
rest 1800 s
pulse +3.96 until time >= 1
pulse -3.96 until time >= 1
cccv -1.1 2 V until current <= 0.022
cccv +0.11 3.6 V until current <= 0.022
cccv -0.11 2 V until current <= 0.022
repeat 10000 cycles
  cccv +3.96 3.6 V until cycle.charge >= 0.086 | current <= 0.022 | time >= 1200
  cccv +5.5 3.6 V until cycle.charge >= 0.88 | current <= 0.022 | time >= 1200
  rest 300 s
  pulse +3.96 until time >= 1
  pulse -3.96 until time >= 1
  cccv +1.1 3.6 V until current <= 0.022 | time >= 1200
  cccv -4.4 2 V until current <= 0.022 | time >= 1200
  rest 300 s
  if discharged.charge <= 0.825 Ah
  end of the run
"""


def drive(points: int, length_s: float, peak_W: float = 20.0) -> str:
    """Full, an hour, the profile until empty."""
    return f"""
cccv +0.333 4.2 V until current <= 0.05
rest 3600 s
repeat 100
  profile of {points} points, {length_s:g} s, {peak_W:g} W until voltage <= 2.5 -> repeat
rest 1800 s
"""


OUTLINES = {
    "formation-coin-cell": COIN_CELL,
    "formation-pouch-cell": POUCH_CELL,
    "formation-nmc-graphite": FORMATION,
    "formation-lfp": FORMATION_LFP,
    "standard-cycle": STANDARD_CYCLE,
    "cycling-cccv": SCREENING,
    "rate-capability": rates(25) + rates(5) + rates(45),
    "pseudo-ocv": PSEUDO_OCV,
    "gitt": GITT,
    "gitt-relaxed": GITT_RELAXED,
    "hppc-ev": HPPC_EV,
    "hppc-hev": hppc_hev(1, 0.75) + hppc_hev(3, 2.25).lstrip(),
    "hppc-handbook": HPPC_HANDBOOK,
    "pulse-power-iso-12405": ISO_12405,
    "drive-cycle": drive(1370, 1369),
    "drive-us06": drive(601, 600),
    "drive-wltc": drive(1801, 1800),
    "drive-dst": drive(21, 360),
    "eis-by-soc": EIS_BY_SOC,
    "capacity-iec-61960": IEC_61960,
    "capacity-iec-62660-1": iec_62660(25) + iec_62660(0) + iec_62660(45),
    "calendar-ageing": CALENDAR,
    "rpt": RPT,
    "cycle-ageing": CYCLE_AGEING,
    "fast-charge-severson": SEVERSON,
}

# From memory of the manual, as the file itself says: seconds, per cent of the peak.
DST = (
    *((16, 0.0), (28, -12.5), (12, -25.0), (8, 12.5)),
    *((16, 0.0), (24, -12.5), (12, -25.0), (8, 12.5)),
    *((16, 0.0), (24, -12.5), (12, -25.0), (8, 12.5)),
    *((16, 0.0), (36, -12.5), (8, -100.0), (24, -62.5), (8, 25.0), (32, -25.0), (8, 50.0)),
    (44, 0.0),
)

# What others have read off a figure of Xu et al. 2018: seconds, multiples of the smallest current.
DST_READ_OFF_S = (18, 28, 12, 8, 16, 24, 12, 8, 16, 24, 12, 8, 16, 36, 8, 24, 8, 32, 8, 42)
DST_READ_OFF = (0, -1, -2, 1, 0, -1, -2, 1, 0, -1, -2, 1, 0, -1, -8, -5, 2, -2, 4, 0)

MILE_KM = 1.609344
# Certified consumption of the 2016 Nissan Leaf (24 kWh) in fastsim's vehicle table: UDDS, from the
# wall, and adjusted for the label (a factor of 0.7); the charger's efficiency is 0.86.
LEAF_UDDS_WH_PER_KM = 267.5 * 0.7 * 0.86 / MILE_KM
UDDS_KM = 11.99
