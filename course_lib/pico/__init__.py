"""The built-in model: its world, its corpus, its tokenizer, its pretraining."""
