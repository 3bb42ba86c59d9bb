//! A town from a seed: traffic, adversaries, faults, and the demo
