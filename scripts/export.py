#!/usr/bin/env python3
"""`jaxgan export` from a checkout."""

from jaxgan.commands import cli, export

if __name__ == "__main__":
    cli.run(export.main)
