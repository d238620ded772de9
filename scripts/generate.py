#!/usr/bin/env python3
"""`jaxgan generate` from a checkout."""

from jaxgan.commands import cli, generate

if __name__ == "__main__":
    cli.run(generate.main)
