"""The gate beside another tool's, on identical tables."""
