"""Protocols of other programs -> ours, and ours -> theirs. For the command line alone.

An importer reads one format and drafts our YAML (`draft`, `writer`); what it cannot say is refused
by name (`findings`). An exporter walks our own file (`own`). No process that runs a bench loads
any of this: what it runs is the YAML that a person has read.
"""
