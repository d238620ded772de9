"""Array operations that the networks stand on."""
