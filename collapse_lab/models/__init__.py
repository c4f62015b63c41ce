"""The networks: ConvNeXt V1/V2 on any grid, their responses, and weights in and out."""
