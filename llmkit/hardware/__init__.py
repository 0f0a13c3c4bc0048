"""Devices: what they compute at most, what they draw, what runs on them cost, and what can be measured of this one."""
