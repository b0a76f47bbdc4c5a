"""The command line: arguments in, tables out, no logic. One file for each command; no other package imports this one."""
