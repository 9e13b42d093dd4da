"""Phantoms: images generated from parameters of bodies and lesions, whose exact truth is known."""
