"""Text in, tokens out: no model code, no torch."""
