"""What two or more stages share: encoders, decoding, frame store, devices, the training loop."""
