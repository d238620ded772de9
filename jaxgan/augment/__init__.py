"""Changes to samples on the device, inside the compiled update."""
