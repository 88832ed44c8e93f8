"""The `piperoll` command: one module for each group of subcommands, imported when used."""
