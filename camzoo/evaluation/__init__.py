"""Which method is better, over a data set: data in, one row for each image, method and metric out, and their means."""
