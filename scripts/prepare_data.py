#!/usr/bin/env python3
"""`jaxgan prepare` from a checkout."""

from jaxgan.commands import cli, prepare_data

if __name__ == "__main__":
    cli.run(prepare_data.main)
