"""`python -m jaxgan` is the command `jaxgan`."""

from jaxgan.commands.main import entry_point

if __name__ == "__main__":
    entry_point()
