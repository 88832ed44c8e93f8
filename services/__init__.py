"""The services, each a process of its own; they meet only in Kafka and PostgreSQL."""
