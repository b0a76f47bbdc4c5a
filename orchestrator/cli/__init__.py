"""What people type: arguments in, tables out, no logic. One file a command; nothing imports this room."""
