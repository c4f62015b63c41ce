"""Weights in and out: from any place and layout to our ConvNeXt, and back."""
