#!/usr/bin/env python3
"""`jaxgan prepare` from a checkout."""

from jaxgan.commands.main import script

if __name__ == "__main__":
    script("prepare_data")
