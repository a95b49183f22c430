"""What was recorded, made again and told."""
