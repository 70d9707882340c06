"""The commands that read several kept runs."""
