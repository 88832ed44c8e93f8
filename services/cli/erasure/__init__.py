"""What `piperoll erase` does, step by step: wait, find, order, await the record, list the copies."""
