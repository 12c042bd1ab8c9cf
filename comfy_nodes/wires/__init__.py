"""What travels through sockets."""
