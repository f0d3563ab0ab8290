"""VGG-shaped networks that look at pictures: features, weights, speed."""
