"""What a report tells beside metrics: intervals, slices, importance of columns, worst predictions, refits."""
