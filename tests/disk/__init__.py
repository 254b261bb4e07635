"""A disk that a test can break, under the real SQLite; see shim.c and disk.py."""
