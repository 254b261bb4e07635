"""Checks that need another project's package: each is run in an environment of its own.

    make test-peers                                     # all
    .venv/bin/python -m pytest tests/peers/test_x.py

Nothing here is collected unless it is named. A test asks for a package by name and sends it code:

    def test_x(peer):
        assert peer("batterydf").json("import bdf, json, sys; ...", path) == ...

The name is that of a file of pins, requirements/NAME.txt; the environment is build/peers/NAME. To
add or renew one: make a fresh environment, install the package, and keep what `pip freeze` prints.
"""
