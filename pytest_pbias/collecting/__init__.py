"""collecting"""
