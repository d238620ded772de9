#!/usr/bin/env python3
"""`jaxgan evaluate` from a checkout."""

from jaxgan.commands import cli, evaluate

if __name__ == "__main__":
    cli.run(evaluate.main)
