"""Calibration of the statistics by simulation."""
