"""What a network is measured with: metrics, classical baselines and measured data."""
