"""Where each file of a server's tree comes from, what the server itself changed in it, and how to go back."""
