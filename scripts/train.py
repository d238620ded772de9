#!/usr/bin/env python3
"""`jaxgan train` from a checkout."""

from jaxgan.commands import cli, train

if __name__ == "__main__":
    cli.run(train.main)
