"""Table -> findings: what a report says, computed once and rendered elsewhere."""
