"""What `piperoll retain` does: which months are due, their archives, the orders."""
