"""The command line: arguments in, tables out, no logic. One file for each command; nothing imports this package."""
