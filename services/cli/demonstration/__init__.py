"""`piperoll demo`, step by step.

place.py    a broker, a database and a folder of its own, away from the user's
sending.py  the month, through Kafka and HTTP
counts.py   how far recording has come
check.py    every message by its identity: lost, doubled, or as it should be
screen.py   what the terminal shows
"""
