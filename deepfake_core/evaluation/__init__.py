"""What the exported model says of the test split: its predictions, what they measure, how they look."""
