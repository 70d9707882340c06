"""Answers that exist already: the logs of other harnesses as an ordinary outcome table."""
