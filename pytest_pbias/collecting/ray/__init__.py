"""Asking on a Ray cluster: the engine here, the process that runs its jobs, the nodes that ask."""
