"""Names that vulture would call unused (`make lint`), each with who uses it: it only sees calls that are written out.

Delete the code, not the check: a name belongs here if something outside of the package calls it, or reads it by name.
"""

_ = None

# click calls these on its commands, groups and parameters
_.normalize_choice
_.format_epilog
_.list_commands
_.get_command

# Python calls these, or reads them from a class
_._value_  # enum
_.__init_subclass__
_.trace  # of __exit__
_.__call__  # of a protocol: whoever satisfies it is called

# the standard library calls or reads these on its servers and streams
_.readable
_.daemon_threads
_.protocol_version
_.do_GET
_.do_HEAD
_.log_message
_.close_connection

# rich calls it when nobody reads standard output any more
_.on_broken_pipe

# the other half of what the package writes or holds, kept beside it: differential tests compare both with nvcc
_.parse_gencode  # of render_gencode
_.ptx_isa  # of the table of toolkits

# headers/outcome.py calls the method of a shell's builtin by the builtin's name
_._do_set
_._do_exit
_._do_return
_._do_break
_._do_trap
_._do_wait
_._do_eval
_._do_source
_._do_exec

# read by name from their section, as bake's keywords
_.compression_level
_.force_compression
_.oci_mediatypes
_.rewrite_timestamp
_.silence

# a table of what buildx does with each attribute; tests/engine/test_bake_graph.py compares it with buildx
_.LISTS
