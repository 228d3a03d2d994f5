"""deepfake: from FaceForensics++ videos to a gated model in production and a batch scorer."""
