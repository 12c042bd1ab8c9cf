"""What is known of services: profiles, accounts, and keys kept out of sight."""
