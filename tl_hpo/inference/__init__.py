"""A trained model at work: predictions, heat maps, exports, speed."""
