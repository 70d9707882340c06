"""Findings over several runs on shared questions: two compared, many in their order."""
