"""The parts of the verification of a chain; `schemas.chain` is the whole. Pure functions, no I/O."""
