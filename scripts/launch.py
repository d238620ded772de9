#!/usr/bin/env python3
"""`jaxgan launch` from a checkout."""

from jaxgan.commands import cli, launch

if __name__ == "__main__":
    cli.run(launch.main)
