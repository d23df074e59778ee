"""Rules for the files of infra/: one module per kind of file, each yielding one line per problem."""
