"""Real programs around a real Portolan: what every end-to-end test stands on."""
