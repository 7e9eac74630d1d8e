"""What a system, distribution, phantom or sequence looks like before training."""
