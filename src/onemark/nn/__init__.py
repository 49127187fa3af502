"""What two or more stages share: networks, the frame store, the training loop, devices, decoding."""
