"""This process: how it ends and tells how far it is; and the other processes of its job."""
