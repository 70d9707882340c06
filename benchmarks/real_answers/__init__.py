"""Readers, rules and traits against hand labels of a real model's answers."""
