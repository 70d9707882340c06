"""The suite that users run and extend: utility, safety, and an example persona file."""
