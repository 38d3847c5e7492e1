//! `polytty connect`: the program at a terminal, and in a pipe.
