"""Small inputs after public bug reports: what each holds, and the right value or the one line it must give."""
