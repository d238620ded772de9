#!/usr/bin/env python3
"""`jaxgan export` from a checkout."""

from jaxgan.commands.main import script

if __name__ == "__main__":
    script("export")
