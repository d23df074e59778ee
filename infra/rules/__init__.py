"""What must hold in every file of infra/: one module a kind of file, each yielding problems as lines to read."""
