"""Targets outside: what holds checkpoints of the seal log where the database's owner cannot change them."""
