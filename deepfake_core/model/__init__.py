"""The Xception: built, fed, trained, exported."""
