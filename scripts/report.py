#!/usr/bin/env python3
"""`jaxgan report` from a checkout."""

from jaxgan.commands import cli, report

if __name__ == "__main__":
    cli.run(report.main)
