"""The endless stream of batches: produced ahead, handed over, resumed, replayed, frozen."""
