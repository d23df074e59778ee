"""The command `foundry`, a file a group of sub-commands. Heavy imports happen inside the commands."""
