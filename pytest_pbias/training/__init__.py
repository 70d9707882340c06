"""Training against bias: preference pairs, DPO, and the model that comes out of it.

Nothing here imports torch at the top; what trains is imported when training starts.
"""
