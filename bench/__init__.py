"""How fast it is, and what that costs. `python -m bench`; see README.md."""
