"""What happens between the signal and the data: sampling schedules and noise."""
