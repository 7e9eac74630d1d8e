"""Training: Lightning runs the loop, the stream feeds it, the tracker writes it down."""
