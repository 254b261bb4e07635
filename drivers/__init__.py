"""Drivers: one module per instrument family."""
