"""What the two networks play for. Nothing here knows a module: scores come in, or a callable that gives them."""
