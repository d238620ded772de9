"""The compiled game: its state, its step, its optimizers, and how a config becomes them."""
