"""Prefect flows over the stages of deepfake_core."""
