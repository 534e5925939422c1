"""An emulated Gmail."""
