"""MethodSCRIPT as an instrument runs it: values, parser, interpreter, and the potentiostat."""
