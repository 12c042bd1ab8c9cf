"""From a workflow file to the prompts of samples."""
