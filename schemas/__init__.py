"""The contract between the services: formats and pure functions, no I/O."""
