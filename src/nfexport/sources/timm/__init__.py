"""What timm has: its names, configurations, layers and weights. The only package that imports timm."""
