"""From probabilities to decisions: calibration, prediction sets, operating points, net benefit, abstention."""
