"""Figures of cells, worked out of the rows of a run: pure functions over arrays, no I/O.

| module | figures |
|---|---|
| moved | charge and energy by trapezoids over the real time stamps |
| scopes | steps, cycles and the run: capacity, energy, efficiency, retention, mean voltage |
| soc | state of charge by counting charge |
| pulses | DC resistance at stated times after an edge of the current |
| differential | dQ/dV and dV/dQ of a step |
| spectra | an equivalent circuit fitted to an impedance spectrum |
| batch | yield and spread of cells that were made alike |

Every figure is defined in docs/figures.md. Charge current is positive; a figure that the data
do not give is NaN, never a guess.
"""
