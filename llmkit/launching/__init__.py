"""From one command to a process a device, on one machine or several."""
