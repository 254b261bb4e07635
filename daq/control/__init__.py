"""Control: the process that touches the instruments."""
