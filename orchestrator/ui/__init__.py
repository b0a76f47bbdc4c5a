"""How things look: progress board, tables, summaries. It decides nothing and starts nothing."""
