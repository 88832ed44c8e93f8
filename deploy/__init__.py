"""How Piperoll is run: local stack, containers, documentation."""
