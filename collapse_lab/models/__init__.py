"""The networks: ConvNeXt V1/V2 and ViT on any grid, responses, and weights in and out."""
