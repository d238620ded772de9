"""A module whose import lasts."""

import time

print("ready", flush=True)
time.sleep(60)
