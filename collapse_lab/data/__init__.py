"""What networks see: uint8 images, labels and identities."""
