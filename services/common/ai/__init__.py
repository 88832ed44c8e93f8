"""Asking a language model: settings, client, redactor, budget, prompts. Nothing here reads or writes Kafka."""
