"""MedMNIST v2: its files, its 18 sets and their facts."""
