"""A program played on a model of a cell: what `daq dry-run` does, in seconds, with no instrument.

`player` drives the same engine that runs real cells; `pace` says how far it may look ahead,
`watch` holds the guard's limits beside it, `trace` keeps what happened, `summary` and `picture`
show it.
"""
