"""What a photo's regions are: annotations, masks and which of them may be edited."""
