"""What training takes: FLOPs, device hours, memory, energy, CO2e and money, and what published runs took."""
