"""What is looked at: slices, pages of cases and of prompts, and with a kernel the playground."""
