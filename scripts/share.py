#!/usr/bin/env python3
"""`jaxgan share` from a checkout."""

from jaxgan.commands.main import script

if __name__ == "__main__":
    script("share")
