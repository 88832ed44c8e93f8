"""Sigma rules: parsed by pySigma, compiled to Python predicates, indexed so that an event meets few of them."""
