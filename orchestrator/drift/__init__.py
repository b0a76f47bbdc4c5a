"""What the user's other files claim about things that the matrix owns: found, compared, repaired.

The room reads files as text and knows the matrix; it must not know how anything is built, and needs no engine.
"""
