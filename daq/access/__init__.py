"""Who may do what: roles, keys, the signed envelope of commands, the audit log."""
