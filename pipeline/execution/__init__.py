"""Execute runs on one machine or many, and start and end stages."""
