#!/usr/bin/env python3
"""`jaxgan benchmark` from a checkout."""

from jaxgan.commands import benchmark, cli

if __name__ == "__main__":
    cli.run(benchmark.main)
