"""From pixels to face crops: the one path that training and scoring share."""
