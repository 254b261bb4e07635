"""A simulated battery bench: cell physics, real sockets and ptys, real instrument dialects.

Imports nothing of the daemon or its drivers, so that both sides of the wire are written apart.
"""
