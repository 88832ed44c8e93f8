"""Broker and database on this machine, without Docker."""
