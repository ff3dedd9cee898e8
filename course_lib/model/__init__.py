"""Load base models, attach, export and merge adapters."""
